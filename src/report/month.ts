/** Which month a report is about. Pure; months are those of UTC, as all times in manifests and records. */

export type Month = {
  /** `2026-11` */
  name: string;
  from: Date;
  /** exclusive; for a month that still runs the time of the report */
  to: Date;
  isOver: boolean;
};

/** A report that runs on the 1st, 2nd or 3rd is about the month that ended; weekends delay nobody's reading of it. */
const DAYS_OF_LAST = 3;

/** The month that ended, during the first three days of the next one; else the running one up to `now`. */
export function monthOf(now: Date): Month {
  const isOver = now.getUTCDate() <= DAYS_OF_LAST;
  const from = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - (isOver ? 1 : 0), 1));
  const end = new Date(Date.UTC(from.getUTCFullYear(), from.getUTCMonth() + 1, 1));
  return { name: from.toISOString().slice(0, 7), from, to: isOver ? end : now, isOver };
}
