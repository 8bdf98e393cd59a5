/** Which process this is, and whether a run of it or of another one is certainly gone. */
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { processStartTime } from '../core/process-start.ts';
import type { LeaseRecord } from './record.ts';

/** Runs of this process that hold a lease, or are about to. */
const atWork = new Set<{ run: string }>();

/** Until it is disposed, this process answers for `run`; afterwards a lease that still names it is nobody's. */
export function answerFor(run: string): Disposable {
  const entry = { run };
  atWork.add(entry);
  return { [Symbol.dispose]: () => atWork.delete(entry) };
}

/** A process as others can recognise it. */
export type ProcessIdentity = Omit<LeaseRecord['holder'], 'door'>;

export function thisProcess(): ProcessIdentity {
  return { host: hostname(), pid: process.pid, startTime: processStartTime(process.pid), space: processSpace() };
}

export type Life = 'alive' | 'dead' | 'unknown';

/**
 * `dead` and `alive` are proofs, from the process table that both share; `unknown` for everything else. A host name proves nothing:
 * two containers may bear the same one, each with its own process 1.
 */
export function lifeOf({ run, holder }: Pick<LeaseRecord, 'run' | 'holder'>, self: ProcessIdentity): Life {
  if (holder.host !== self.host || holder.space === null || holder.space !== self.space) return 'unknown';
  if (holder.startTime === null) return 'unknown';
  if (processStartTime(holder.pid) !== holder.startTime) return 'dead';
  // A worker lives for years: a run of its own that is over, and could not release, must not lock it out for as long.
  return holder.pid === process.pid && ![...atWork].some((entry) => entry.run === run) ? 'dead' : 'alive';
}

/** The boot of this kernel and the pid namespace, or null where there is no /proc. */
function processSpace(): string | null {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${boot} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return null;
  }
}
