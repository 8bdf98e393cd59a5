/** How a lease that is not had is told to people. */
import { StrongroomError } from '../core/errors.ts';
import type { ClusterName } from '../core/ids.ts';
import { formatDuration } from '../core/units.ts';
import type { LeaseRecord } from './record.ts';

/** E_LOCKED: somebody else is at work. `record: null` = who it is cannot be read. */
export function heldByOther(
  cluster: ClusterName,
  { store, record, ttlMs }: { store: string; record: LeaseRecord | null; ttlMs: number },
): StrongroomError {
  return new StrongroomError('E_LOCKED', `${cluster} ${stateOf(store, record)}`, {
    hint: `wait for it to end; a run that gives no sign of life for ${formatDuration(ttlMs)} is replaced by itself`,
    details: {
      cluster,
      store,
      ...(record === null ? {} : { run: record.run, host: record.holder.host, token: record.token }),
    },
  });
}

/** E_LOCKED: it was ours, and another run has it now, or the object was removed (`record: null`). */
export function takenAway(cluster: ClusterName, store: string, record: LeaseRecord | null): StrongroomError {
  const who = record === null ? 'its object was removed or replaced' : `${describe(record)} took it over`;
  return new StrongroomError('E_LOCKED', `the lease of ${cluster} in ${store} was lost: ${who}`, {
    hint: 'this run stopped; was its process or its machine paused? If not, look for a second strongroom on this cluster',
    details: { cluster, store, lost: 'taken', ...(record === null ? {} : { run: record.run }) },
  });
}

/** E_LOCKED: no destination confirmed it for so long that another run may have it by now. */
export function notConfirmed(cluster: ClusterName, validMs: number, cause: unknown): StrongroomError {
  const message = `the lease of ${cluster} was lost: it could not be renewed for ${formatDuration(validMs)}`;
  return new StrongroomError('E_LOCKED', message, {
    hint: 'the network to the destinations was gone, or this process was paused: run it again',
    details: { cluster, lost: 'silence' },
    cause,
  });
}

/** Was it lost to another run, and not only to silence? */
export function isTakenAway(e: StrongroomError): boolean {
  return e.details['lost'] === 'taken';
}

function stateOf(store: string, record: LeaseRecord | null): string {
  if (record === null) return `is held by a run whose lease in ${store} cannot be read`;
  if (record.state === 'released') return `was held by ${describe(record)}, which ended at ${record.renewedAt}`;
  return `is held by ${describe(record)}, since ${record.since}, last sign of life ${record.renewedAt} by its clock`;
}

function describe({ run, holder }: LeaseRecord): string {
  return `run ${run} (${holder.door} on ${holder.host}, process ${holder.pid})`;
}
