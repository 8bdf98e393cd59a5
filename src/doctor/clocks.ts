/** What a difference of clocks means. Pure. */
import { formatDuration } from '../core/units.ts';
import { type Outcome, ok, problem, warning } from './finding.ts';

/** Stores and nodes tell whole seconds, and the answer takes its time. */
const WARN_MS = 30_000;
/** S3 refuses at 15 minutes; tokens, leases and certificates suffer earlier. */
const PROBLEM_MS = 5 * 60_000;
const FIX = 'set the clock of whichever is wrong: chronyc tracking, timedatectl';

/** `aheadMs` = their clock less ours, in milliseconds. */
export function clockOutcome(what: string, aheadMs: number): Outcome {
  const seconds = Math.round(Math.abs(aheadMs) / 1000);
  const by = seconds === 0 ? 'less than a second' : formatDuration(seconds * 1000);
  const detail = `its clock is ${by} ${aheadMs < 0 ? 'behind' : 'ahead of'} this machine's`;
  if (Math.abs(aheadMs) > PROBLEM_MS) return problem(what, detail, FIX);
  return Math.abs(aheadMs) > WARN_MS ? warning(what, detail, FIX) : ok(what, `${by} apart from this machine's`);
}
