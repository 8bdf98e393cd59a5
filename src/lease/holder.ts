/** Which process this is, and whether another one is certainly gone. */
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { processStartTime } from '../core/process-start.ts';
import type { LeaseRecord } from './record.ts';

/** A process as others can recognise it. */
export type ProcessIdentity = Omit<LeaseRecord['holder'], 'door'>;

export function thisProcess(): ProcessIdentity {
  return { host: hostname(), pid: process.pid, startTime: processStartTime(process.pid), space: processSpace() };
}

/**
 * `dead` and `alive` are proofs, from the process table that both share; `unknown` for everything else. A host name proves nothing:
 * two containers may bear the same one, each with its own process 1.
 */
export function lifeOf(holder: ProcessIdentity, self: ProcessIdentity): 'alive' | 'dead' | 'unknown' {
  if (holder.host !== self.host || holder.space === null || holder.space !== self.space) return 'unknown';
  if (holder.startTime === null) return 'unknown';
  return processStartTime(holder.pid) === holder.startTime ? 'alive' : 'dead';
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
