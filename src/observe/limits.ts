/** What is promised for a cluster, in times: by its config, else by its schedule. */
import { ageLimit } from '../schedule/age-limit.ts';
import type { Schedule } from '../schedule/schedule.ts';
import type { MembershipRules } from './membership.ts';
import type { Limits } from './verdict.ts';

/** The parts of a cluster's config that matter here. */
export type LimitsConfig = {
  members?: MembershipRules['inventory'];
  membershipWindows?: MembershipRules['windows'];
  limits?: { maxAge?: number | undefined; maxProofAge?: number | undefined } | undefined;
  schedule?:
    | ({ timeZone: string } & Partial<
        Record<'backup' | 'verify', { cron: string; jitter?: number | undefined } | undefined>
      >)
    | undefined;
};

/** Reading copies again has a budget, and need not come round to each destination every day, in milliseconds. */
const LEAST_PROOF_AGE_MS = 7 * 86_400_000;

/**
 * The limits of `cluster` at `now`. Without limits.maxAge two periods of schedule.backup, without either null: nobody has
 * said how old a backup may be. Without limits.maxProofAge two periods of schedule.verify and a week at least.
 */
export function limitsOf(cluster: string, { limits, schedule, ...config }: LimitsConfig, now: Date): Limits {
  const byTimes = (job: 'backup' | 'verify'): number | null => {
    const timing = schedule?.[job];
    if (schedule === undefined || timing === undefined) return null;
    const { cron, jitter: jitterMs = 0 } = timing;
    const times: Schedule = { cron, timeZone: schedule.timeZone, jitterMs, key: `${cluster} ${job}` };
    return ageLimit(times, now);
  };
  const proofs = byTimes('verify');
  return {
    maxAgeMs: limits?.maxAge ?? byTimes('backup'),
    maxProofAgeMs: limits?.maxProofAge ?? (proofs === null ? null : Math.max(LEAST_PROOF_AGE_MS, proofs)),
    maxStatusAgeMs: null,
    membership: { inventory: config.members ?? [], windows: config.membershipWindows ?? [] },
  };
}
