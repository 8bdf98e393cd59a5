/** What a status means: good, to be watched, or bad, and why. Pure. */
import { formatDuration } from '../core/units.ts';
import type { ClusterStatus } from './status.ts';

export type Level = 'ok' | 'warning' | 'critical';

export type Verdict = {
  level: Level;
  /** age of the newest backup of the whole promise, in milliseconds; null = there is none */
  ageMs: number | null;
  /** worst first, each one sentence; empty = all is well */
  reasons: { level: Exclude<Level, 'ok'>; text: string }[];
};

export type Limits = {
  /** older than this is critical, in milliseconds */
  maxAgeMs: number;
  /** a last proof older than this is a warning, in milliseconds; null = proofs are not asked for */
  maxProofAgeMs: number | null;
};

const RANK = { ok: 0, warning: 1, critical: 2 } as const satisfies Record<Level, number>;

/**
 * The backup counts whose copies are in all destinations. One that is newer and not whole is worth a warning, and does not
 * make the cluster look safer than it is.
 */
export function judge(status: ClusterStatus, limits: Limits, now: Date): Verdict {
  const reasons: Verdict['reasons'] = [];
  const say = (level: Exclude<Level, 'ok'>, text: string): void => void reasons.push({ level, text });
  const whole = status.newestWhole;
  const ageMs = whole === null ? null : now.getTime() - whole.at.getTime();
  if (ageMs === null) {
    say('critical', status.newest === null ? 'there is no backup' : 'no backup is in every destination');
  } else if (ageMs > limits.maxAgeMs) {
    say(
      'critical',
      `the newest whole backup is ${formatDuration(ageMs)} old, ${formatDuration(limits.maxAgeMs)} at most`,
    );
  }
  const newest = status.newest?.manifest.snapshot;
  if (whole !== null && newest !== undefined && newest !== whole.snapshot) {
    say('warning', `${newest} is newer, and not in every destination`);
  }
  if (ageMs !== null && ageMs < -60_000)
    say('warning', `the newest backup is from the future (${formatDuration(-ageMs)}): look at the clocks`);
  for (const error of status.refused) say('critical', `a newer manifest is refused: ${error.message}`);
  for (const { name, problem, badCopies, lastProofAt } of status.destinations) {
    if (problem !== null) say('critical', `${name} cannot be read: ${problem.message}`);
    if (badCopies > 0) say('critical', `${badCopies} copies in ${name} are bad`);
    if (limits.maxProofAgeMs === null) continue;
    const proofAge = lastProofAt === null ? null : now.getTime() - lastProofAt.getTime();
    if (proofAge === null) say('warning', `no copy in ${name} was ever read again`);
    else if (proofAge > limits.maxProofAgeMs)
      say('warning', `the last proof in ${name} is ${formatDuration(proofAge)} old`);
  }
  for (const [job, { last, failuresSince }] of Object.entries(status.jobs)) {
    if (last === null || last.outcome === 'done') continue;
    const how = last.outcome === 'failed' ? (last.error?.message ?? 'failed') : `lacks ${last.missing.join(', ')}`;
    say(
      'warning',
      `the last ${failuresSince === 1 ? '' : `${failuresSince} runs of `}${job} did not keep the promise: ${how}`,
    );
  }
  reasons.sort((a, b) => RANK[b.level] - RANK[a.level]);
  return { level: reasons[0]?.level ?? 'ok', ageMs, reasons };
}
