/** What the clocks of a time zone show, and when they are moved. */

/** A day of a zone as its clocks show it; `utc` numbers are what they show, read as if it were UTC. */
export type ZoneDay = {
  /** clock minus UTC before the change of this day, or of the whole day where there is none, in milliseconds */
  before: number;
  after: number;
  /** when the clocks are moved, in milliseconds since 1970; infinite = not near this day */
  changesAt: number;
};

const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
/** A look at a zone costs microseconds, and a schedule looks at the same few days again and again. */
const MAX_KNOWN = 2_000;

/** Offsets of one zone. Throws a RangeError for a name that is none. */
export class Zone {
  readonly #format: Intl.DateTimeFormat;
  readonly #days = new Map<number, ZoneDay>();

  constructor(name: string) {
    this.#format = new Intl.DateTimeFormat('en-US', {
      timeZone: name,
      hourCycle: 'h23',
      era: 'short',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
  }

  /** Clock minus UTC at `time`, in milliseconds. */
  offsetAt(time: number): number {
    const part: Partial<Record<Intl.DateTimeFormatPartTypes, number>> = {};
    for (const { type, value } of this.#format.formatToParts(time)) part[type] = Number(value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = part;
    return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(time / 1000) * 1000;
  }

  /** The day that begins when the clocks show `start` (a whole number of days since 1970, in milliseconds). */
  day(start: number): ZoneDay {
    const known = this.#days.get(start);
    if (known !== undefined) return known;
    if (this.#days.size >= MAX_KNOWN) this.#days.clear();
    const found = this.#look(start);
    this.#days.set(start, found);
    return found;
  }

  /** A zone moves its clocks once in two days at most; a change beside this day does no harm here. */
  #look(start: number): ZoneDay {
    // From the first place on earth where this day begins to the last where it ends.
    let [from, to] = [start - 15 * HOUR_MS, start + DAY_MS + 15 * HOUR_MS];
    const [before, after] = [this.offsetAt(from), this.offsetAt(to)];
    if (before === after) return { before, after, changesAt: Number.POSITIVE_INFINITY };
    while (to - from > 1000) {
      const middle = Math.floor((from + to) / 2000) * 1000;
      if (this.offsetAt(middle) === before) from = middle;
      else to = middle;
    }
    return { before, after, changesAt: to };
  }
}

/**
 * The moments at which the clocks of `day` show `wall`, the earlier one first. A time that they skip comes when they have
 * moved on, by as much as they were moved: there is always one.
 */
export function momentsOf({ before, after, changesAt }: ZoneDay, wall: number): [number] | [number, number] {
  const early = wall - before;
  const late = wall - after;
  if (early < changesAt) return late >= changesAt ? [early, late] : [early];
  return late >= changesAt ? [late] : [early];
}
