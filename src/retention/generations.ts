/** Which hour, day, week, month and year a time is in, as people in a time zone say it; and when a later one begins. */
import { StrongroomError } from '../core/errors.ts';

export const PERIOD_KINDS = ['hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;
export type PeriodKind = (typeof PERIOD_KINDS)[number];

const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

// Making one takes longer than formatting a hundred times with it.
const formatters = new Map<string, Intl.DateTimeFormat>();

/**
 * The name of each period that `at` is in, in the IANA zone `timeZone`: `2026-10-25T02:00+02:00`, `2026-10-25`,
 * `2026-W43` (ISO, from Monday), `2026-10`, `2026`. Two times are in the same period exactly when the names are equal.
 *
 * An hour that happens twice is two hours, which is why its offset is in the name; one that is skipped is in none.
 * Throws E_CONFIG_INVALID for a zone that this machine does not know.
 */
export function periodsOf(at: Date, timeZone: string): Record<PeriodKind, string> {
  const wall = wallClock(at, timeZone);
  const text = new Date(wall.ms).toISOString();
  const daily = text.slice(0, -14);
  return {
    hourly: `${text.slice(0, -10)}00${offsetText(wall.offsetMs)}`,
    daily,
    weekly: isoWeek(wall.ms),
    monthly: daily.slice(0, -3),
    yearly: daily.slice(0, -6),
  };
}

/**
 * When the `count`-th period after that of `at` begins; 0 = the beginning of its own. Hours are counted as they pass.
 * Where the clock skips the beginning of a day (as in Beirut in March), the day begins right after. Throws as
 * {@link periodsOf}.
 */
export function periodStart(kind: PeriodKind, at: Date, count: number, timeZone: string): Date {
  const wall = wallClock(at, timeZone);
  if (kind === 'hourly') {
    const intoHour = ((wall.ms % HOUR_MS) + HOUR_MS) % HOUR_MS;
    return new Date(Math.floor(at.getTime() / SECOND_MS) * SECOND_MS - intoHour + count * HOUR_MS);
  }
  const local = new Date(wall.ms);
  const [year, month, day] = [local.getUTCFullYear(), local.getUTCMonth(), local.getUTCDate()];
  switch (kind) {
    case 'daily':
      return dayStart(Date.UTC(year, month, day + count), timeZone);
    case 'weekly':
      return dayStart(Date.UTC(year, month, day - daysSinceMonday(wall.ms) + 7 * count), timeZone);
    case 'monthly':
      return dayStart(Date.UTC(year, month + count, 1), timeZone);
    case 'yearly':
      return dayStart(Date.UTC(year + count, 0, 1), timeZone);
  }
}

/** The clock on the wall as if it were UTC, to the second, and how far it is ahead of UTC; both in milliseconds. */
function wallClock(at: Date, timeZone: string): { ms: number; offsetMs: number } {
  // en-US says "10/25/2026, 02:00:00". Half the time of formatToParts, which counts with ten thousand snapshots.
  const numbers = formatterOf(timeZone).format(at).match(/\d+/g)?.map(Number) ?? [];
  const [month = NaN, day = NaN, year = NaN, hour = NaN, minute = NaN, second = NaN] = numbers;
  const ms = Date.UTC(year, month - 1, day, hour, minute, second);
  return { ms, offsetMs: ms - Math.floor(at.getTime() / SECOND_MS) * SECOND_MS };
}

function formatterOf(timeZone: string): Intl.DateTimeFormat {
  const known = formatters.get(timeZone);
  if (known !== undefined) return known;
  try {
    const formatter = new Intl.DateTimeFormat('en-US', {
      timeZone,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
    formatters.set(timeZone, formatter);
    return formatter;
  } catch (e) {
    throw new StrongroomError('E_CONFIG_INVALID', `"${timeZone}" is not a time zone that this machine knows`, {
      hint: 'write a name of the IANA list, such as Europe/Berlin or UTC',
      cause: e,
    });
  }
}

/** The first moment of a day, given as its midnight on a UTC clock. */
function dayStart(midnightMs: number, timeZone: string): Date {
  const day = midnightMs / DAY_MS;
  // The offset may change on this very day: one of the two around it holds at its beginning.
  const starts = [-DAY_MS, DAY_MS]
    .map((aside) => midnightMs - wallClock(new Date(midnightMs + aside), timeZone).offsetMs)
    .toSorted((a, b) => a - b);
  const first = starts.find((ms) => Math.floor(wallClock(new Date(ms), timeZone).ms / DAY_MS) === day);
  // A day that the zone left out altogether (Apia, 30 December 2011): the next one begins at that moment.
  return new Date(first ?? Math.max(...starts));
}

function daysSinceMonday(ms: number): number {
  return (new Date(ms).getUTCDay() + 6) % 7;
}

/** The week belongs to the year that its Thursday is in. */
function isoWeek(ms: number): string {
  const thursday = new Date(ms + (3 - daysSinceMonday(ms)) * DAY_MS);
  const year = thursday.getUTCFullYear();
  const week = 1 + Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / (7 * DAY_MS));
  return `${year}-W${String(week).padStart(2, '0')}`;
}

function offsetText(offsetMs: number): string {
  if (offsetMs === 0) return 'Z';
  const minutes = Math.floor(Math.abs(offsetMs) / 60_000);
  const [hour, minute] = [Math.floor(minutes / 60), minutes % 60].map((n) => String(n).padStart(2, '0'));
  return `${offsetMs < 0 ? '-' : '+'}${hour}:${minute}`;
}
