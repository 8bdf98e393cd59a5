/**
 * The times of a cron expression in a time zone. The expression is read by the parser that BullMQ uses; the walk along
 * the calendar is our own: that of the parser ends in an error behind a midnight that the clocks skipped (Santiago, Cairo,
 * Beirut, Havana), and where they are moved by half an hour (Lord Howe).
 */
import { CronExpressionParser } from 'cron-parser';
import { StrongroomError } from '../core/errors.ts';
import { DAY_MS, momentsOf, Zone } from './zone.ts';

/** From one 29th of February to the next around 2100 it is eight years, and an expression may want its weekday too. */
const MAX_DAYS = 366 * 41;
/** Expressions and zones that are kept: a fleet has many clusters, and few different schedules. */
const MAX_KNOWN = 500;

export class CronTimes {
  readonly #zone: Zone;
  readonly #isDue: (day: Date) => boolean;
  readonly #isEveryHour: boolean;
  readonly #hours: readonly number[];
  readonly #minutes: readonly number[];
  readonly #seconds: readonly number[];
  readonly #name: string;

  private constructor(cron: string, timeZone: string) {
    this.#name = `the schedule "${cron}" in ${timeZone}`;
    try {
      const { fields } = CronExpressionParser.parse(cron, { tz: timeZone });
      this.#zone = new Zone(timeZone);
      this.#isDue = dayMatcher(fields);
      this.#hours = numbersOf(fields.hour);
      this.#minutes = numbersOf(fields.minute);
      this.#seconds = numbersOf(fields.second);
    } catch (e) {
      throw new StrongroomError('E_CONFIG_INVALID', `${this.#name} cannot be read`, { cause: e });
    }
    this.#isEveryHour = this.#hours.length === 24;
  }

  /** Throws E_CONFIG_INVALID for what is no expression, or no zone. */
  static of(cron: string, timeZone: string): CronTimes {
    const key = `${timeZone} ${cron}`;
    const known = KNOWN.get(key);
    if (known !== undefined) return known;
    if (KNOWN.size >= MAX_KNOWN) KNOWN.clear();
    const times = new CronTimes(cron, timeZone);
    KNOWN.set(key, times);
    return times;
  }

  /** The first time behind `time`, both in milliseconds since 1970. Throws E_CONFIG_INVALID when there is none. */
  after(time: number): number {
    // Clocks may go back over midnight: the day before is not over then.
    const first = this.#dayAt(time) - DAY_MS;
    for (let i = 0; i <= MAX_DAYS; i += 1) {
      const found = this.#firstOf(first + i * DAY_MS, time);
      if (found !== null) return found;
    }
    throw this.#never();
  }

  /** The last time at or before `time`. */
  atOrBefore(time: number): number {
    const last = this.#dayAt(time) + DAY_MS;
    for (let i = 0; i <= MAX_DAYS; i += 1) {
      const found = this.#lastOf(last - i * DAY_MS, time);
      if (found !== null) return found;
    }
    throw this.#never();
  }

  #dayAt(time: number): number {
    return Math.floor((time + this.#zone.offsetAt(time)) / DAY_MS) * DAY_MS;
  }

  /** The first time of the day behind `time`; null = it has none. */
  #firstOf(day: number, time: number): number | null {
    if (!this.#isDue(new Date(day))) return null;
    const clocks = this.#zone.day(day);
    if (clocks.before !== clocks.after) return this.#momentsOf(day).find((moment) => moment > time) ?? null;
    const wanted = time + clocks.before - day;
    const found = firstAbove(this.#hours, this.#minutes, this.#seconds, wanted);
    return found === null ? null : day + found - clocks.before;
  }

  #lastOf(day: number, time: number): number | null {
    if (!this.#isDue(new Date(day))) return null;
    const clocks = this.#zone.day(day);
    if (clocks.before !== clocks.after) return this.#momentsOf(day).findLast((moment) => moment <= time) ?? null;
    const wanted = time + clocks.before - day;
    const found = lastAtOrBelow(this.#hours, this.#minutes, this.#seconds, wanted);
    return found === null ? null : day + found - clocks.before;
  }

  /** Every time of a day near which clocks are moved. */
  #momentsOf(day: number): number[] {
    const clocks = this.#zone.day(day);
    const moments = this.#hours.flatMap((hour) =>
      this.#minutes.flatMap((minute) => {
        const found = momentsOf(clocks, day + hour * HOUR_MS + minute * MINUTE_MS);
        // A fixed hour that comes twice is meant once; what runs every hour goes on through both.
        const starts = this.#isEveryHour ? found : found.slice(0, 1);
        return starts.flatMap((start) => this.#seconds.map((second) => start + second * 1000));
      }),
    );
    return moments.sort((a, b) => a - b);
  }

  #never(): StrongroomError {
    return new StrongroomError('E_CONFIG_INVALID', `${this.#name} is never due`);
  }
}

const KNOWN = new Map<string, CronTimes>();
const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

type Numbers = readonly number[];
type Fields = ReturnType<typeof CronExpressionParser.parse>['fields'];

function firstAbove(hours: Numbers, minutes: Numbers, seconds: Numbers, above: number): number | null {
  for (const hour of hours) {
    const h = hour * HOUR_MS;
    if (h + HOUR_MS <= above) continue;
    for (const minute of minutes) {
      const m = h + minute * MINUTE_MS;
      if (m + MINUTE_MS <= above) continue;
      const second = seconds.find((s) => m + s * 1000 > above);
      if (second !== undefined) return m + second * 1000;
    }
  }
  return null;
}

function lastAtOrBelow(hours: Numbers, minutes: Numbers, seconds: Numbers, limit: number): number | null {
  for (const hour of hours.toReversed()) {
    const h = hour * HOUR_MS;
    if (h > limit) continue;
    for (const minute of minutes.toReversed()) {
      const m = h + minute * MINUTE_MS;
      if (m > limit) continue;
      const second = seconds.findLast((s) => m + s * 1000 <= limit);
      if (second !== undefined) return m + second * 1000;
    }
  }
  return null;
}

function numbersOf({ values }: { values: readonly unknown[] }): number[] {
  return values.filter((value) => typeof value === 'number').toSorted((a, b) => a - b);
}

/** Which days an expression means; a day is given by its midnight as if it were UTC. */
function dayMatcher({ month, dayOfMonth, dayOfWeek }: Fields): (day: Date) => boolean {
  const months = new Set(numbersOf(month));
  const days = new Set(numbersOf(dayOfMonth));
  const weekdays = new Set(numbersOf(dayOfWeek).map((weekday) => weekday % 7));
  const isLastDay = dayOfMonth.hasLastChar;
  const { nthDay, hasLastChar: isLastWeekday } = dayOfWeek;
  const lastWeekdays = new Set(dayOfWeek.values.map((value) => Number.parseInt(String(value).charAt(0), 10) % 7));
  return (day) => {
    if (!months.has(day.getUTCMonth() + 1)) return false;
    const date = day.getUTCDate();
    const length = new Date(Date.UTC(day.getUTCFullYear(), day.getUTCMonth() + 1, 0)).getUTCDate();
    const weekday = day.getUTCDay();
    const fitsDate = days.has(date) || (isLastDay && date === length);
    const fitsWeekday =
      (weekdays.has(weekday) && (nthDay <= 0 || Math.ceil(date / 7) === nthDay)) ||
      (isLastWeekday && date > length - 7 && lastWeekdays.has(weekday));
    if (dayOfWeek.isWildcard) return fitsDate;
    if (dayOfMonth.isWildcard) return fitsWeekday;
    // Both are named: cron has always meant either of them.
    return fitsDate || fitsWeekday;
  };
}
