/** Names and ids, branded so that one is never passed for another. */
import { decodeTime, monotonicFactory } from 'ulid';
import { StrongroomError } from './errors.ts';

export type ClusterName = string & { readonly __brand: 'ClusterName' };
/** A ULID: 26 characters, its first ten the time in milliseconds. The time is *when the run began*. */
export type SnapshotId = string & { readonly __brand: 'SnapshotId' };
export type RunId = string & { readonly __brand: 'RunId' };

const CLUSTER = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
/** A clock that is set back by more was wrong before: ids must not go on with its time, in milliseconds. */
const MAX_STEP_BACK_MS = 1_000;

let nextUlid = monotonicFactory();
let lastMs = 0;

/** Lower-case letters, digits and inner dashes, at most 63: it becomes a folder of object keys. */
export function parseClusterName(text: string): ClusterName {
  if (!CLUSTER.test(text)) {
    throw new StrongroomError('E_CONFIG_INVALID', `"${text}" is not a cluster name`, {
      hint: 'use lower-case letters, digits and inner dashes, at most 63 characters',
    });
  }
  return text as ClusterName;
}

/** The id in `text`, or null when it is none. Case does not matter; the answer is upper case. */
export function parseSnapshotId(text: string): SnapshotId | null {
  const upper = text.toUpperCase();
  return ULID.test(upper) ? (upper as SnapshotId) : null;
}

/** A cluster's or snapshot's name out of a foreign document, for a message: only what has the shape of one is repeated. */
export function nameInDocument(text: string): string {
  return /^[A-Za-z0-9-]{1,63}$/.test(text) ? text : 'another';
}

export function newSnapshotId(now: Date): SnapshotId {
  return newUlid(now) as SnapshotId;
}

export function newRunId(now: Date): RunId {
  return newUlid(now) as RunId;
}

/** Each greater than the one before in this process, as long as the clock does not go back. */
function newUlid(now: Date): string {
  const ms = now.getTime();
  // The factory never goes back: one run under a clock that is a day ahead would date a day of later ones wrong.
  if (ms < lastMs - MAX_STEP_BACK_MS) nextUlid = monotonicFactory();
  lastMs = ms;
  return nextUlid(ms);
}

/** The time inside a snapshot id, to the millisecond. */
export function snapshotTime(id: SnapshotId): Date {
  return new Date(decodeTime(id));
}
