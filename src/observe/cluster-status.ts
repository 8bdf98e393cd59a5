/**
 * What is known of how safe one cluster is. What could not be asked is unknown, and said to be: it is neither good nor bad.
 */
import type { Catalogue } from '../catalogue/catalogue.ts';
import type { Member } from '../catalogue/members.ts';
import type { RunRecord } from '../catalogue/record-types.ts';
import type { Records } from '../catalogue/records.ts';
import type { StrongroomError } from '../core/errors.ts';
import type { SnapshotId } from '../core/ids.ts';
import type { Store } from '../store/store.ts';
import type { Silence } from './silence.ts';

/** One good backup, by its signed manifest. */
export type BackupFact = {
  snapshot: SnapshotId;
  /** when the backup began: what it holds is of this time */
  at: Date;
  /** when it was complete */
  finishedAt: Date;
  /** length of the archive in bytes, before encryption */
  bytes: number;
  /** length of its data object in each destination, in bytes */
  storedBytes: number;
  records: number;
  /** who raft named as members in it */
  members: readonly Member[];
  /** the newest good backup when it began; null = it was the first */
  previous: SnapshotId | null;
};

/** Who was a member when a backup was made. */
export type BackupMembers = Pick<BackupFact, 'snapshot' | 'at' | 'members' | 'previous'>;

export type DestinationStatus = {
  name: string;
  /** why it could not be asked, or not to the end; the rest is then unknown, and not good */
  away: StrongroomError | null;
  /** newest good backup whose manifest this destination itself holds; null = none, or unknown */
  newest: BackupFact | null;
  /** what is wrong with the newest it holds: refused manifests, objects that are gone or of another length */
  problems: StrongroomError[];
  /** backups since the newest whole one that are not here; null = unknown */
  copiesMissing: number | null;
  /** when a copy here was last read in full and found good; null = never since its backup, or unknown */
  lastProofAt: Date | null;
  /** copies still here whose last reading was bad; null = unknown */
  badCopies: number | null;
  /** until when each of the newest copies is locked; null = none is asked for, or unknown */
  locks: (Date | null)[] | null;
};

export type JobStatus = {
  /** the newest run with a believable record */
  last: RunRecord;
  /** the newest one that kept every promise, as far back as was looked */
  lastDone: RunRecord | null;
  /** runs since then that did not */
  failuresSince: number;
};

export type ClusterStatus = {
  cluster: string;
  /** when it was asked for; null = no destination has answered yet */
  readAt: Date | null;
  /** newest good backup that any destination holds; null = none, or unknown */
  newest: BackupFact | null;
  /** newest good backup of the whole promise: the objects of a copy are in every configured destination; null = none, or unknown */
  newestWhole: BackupFact | null;
  /** false = a destination could not be asked, so that nobody can say which backup is whole */
  isWholeKnown: boolean;
  /** backups that are dated in the future: their age says nothing, so they count for nothing here */
  fromTheFuture: SnapshotId[];
  destinations: DestinationStatus[];
  /** the newest backup and some before it, newest first, as far as they can be read; empty = there is none, or unknown */
  members: readonly BackupMembers[];
  /** jobs with a believable record in the last weeks; null = unknown */
  jobs: Record<string, JobStatus> | null;
  /** why proofs or runs are unknown; null = they are known */
  recordsProblem: StrongroomError | null;
};

export type StatusDeps = {
  catalogue: Catalogue;
  records: Records;
  /** the configured destinations of the cluster */
  stores: readonly Store[];
  /** names of those whose objects are to be locked */
  locked: readonly string[];
  /** time for a destination to answer, in milliseconds; default 20 s */
  answerMs?: number;
  /** destinations that were silent a moment ago are not asked again */
  silence?: Silence;
};

/** Clocks differ. A backup or proof that is further ahead is dated in the future, in milliseconds. */
export const CLOCK_TOLERANCE_MS = 5 * 60_000;

/** Manifests reach the destinations one after the other: so long nothing is taken for lost, in milliseconds. */
export const PUBLISHING_MS = 5 * 60_000;
