/** What the numbers are held against. Only memory is a promise; times depend on what else the machine does. */
import { formatBytes } from '../../src/core/units.ts';
import type { Row } from './report.ts';
import { SUBJECTS } from './subjects.ts';

export type Aim = { what: string; limit: number; actual: number; isMet: boolean; isPromise: boolean };

/** Whatever the size of the state. */
const MAX_RSS_BYTES = 256 * 2 ** 20;
const MAX_HELD = 1.3;
/** Below that the start of a process is most of what is measured. */
const MIN_STATE_BYTES = 100 * 2 ** 20;

/** Memory of strongroom at every size; times at the largest, when that is large enough. Of what was measured. */
export function aims(rows: readonly Row[]): Aim[] {
  const ours = rows.filter(({ subject }) => SUBJECTS[subject].role === 'strongroom');
  const peak = Math.max(...ours.map(({ peakRssBytes }) => peakRssBytes));
  const found = [aim('largest peak RSS in MiB', MAX_RSS_BYTES / 2 ** 20, peak / 2 ** 20, true)];
  const largest = Math.max(...rows.map(({ state }) => state));
  const buckets = rows.find(({ subject, state }) => subject === 'buckets' && state === largest);
  if (buckets !== undefined && largest >= MIN_STATE_BYTES) {
    const { toBare, toScript } = buckets.ratio;
    const at = `at ${formatBytes(largest)}`;
    found.push(
      aim(`server held, against the bare download, ${at}`, MAX_HELD, toBare?.held),
      aim(`wall of a backup, against the script, ${at}`, 1, toScript?.wall),
      aim(`CPU of a backup, against the script, ${at}`, 1, toScript?.cpu),
    );
  }
  return found.filter(({ actual }) => Number.isFinite(actual));
}

export function renderAim({ what, limit, actual, isMet }: Aim): string {
  return `${isMet ? 'met   ' : 'MISSED'} ${what}: ${actual.toFixed(2)} (at most ${limit})`;
}

function aim(what: string, limit: number, actual: number | null | undefined, isPromise = false): Aim {
  const value = actual ?? Number.NaN;
  return { what, limit, actual: value, isMet: value <= limit, isPromise };
}
