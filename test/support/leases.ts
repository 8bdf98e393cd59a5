/** The lease of a cluster, as a job takes it, in stores that a test has at hand. */
import type { ClusterName, RunId } from '../../src/core/ids.ts';
import { silentLog } from '../../src/core/log.ts';
import { systemClock } from '../../src/core/units.ts';
import { LEASE_TTL_MS, type Lease, type LeaseDeps, type TakeOptions } from '../../src/lease/lease.ts';
import { takeLease } from '../../src/lease/take.ts';
import type { Store } from '../../src/store/store.ts';

/** In any of `stores`, unless `change` says otherwise. */
export function leaseTaker(
  cluster: ClusterName,
  stores: readonly Store[],
  change: Partial<LeaseDeps & TakeOptions> = {},
): (run: RunId, signal: AbortSignal) => Promise<Lease> {
  const deps = { cluster, stores, clock: systemClock, log: silentLog, ttlMs: LEASE_TTL_MS, ...change };
  return (run, signal) =>
    takeLease(deps, { need: 'any', waitMs: 0, run, door: 'a test', fence: null, ...change }, signal);
}
