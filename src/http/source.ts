/** What the pages show, and where it comes from: a port that strongroom serve fills. Nothing here changes anything but by name. */
import type { Queue } from 'bullmq';
import type { VerifiedManifest } from '../catalogue/catalogue.ts';
import type { HoldRecord, ProofRecord, RunRecord } from '../catalogue/record-types.ts';
import type { StrongroomError } from '../core/errors.ts';
import type { SnapshotId } from '../core/ids.ts';
import type { WatchedStatus } from '../observe/watch.ts';

/** One job of a cluster by its schedule. */
export type PlannedJob = { job: string; cron: string; due: Date; start: Date };

/** One snapshot in a timeline; what stands in its manifest is null when that was not opened or not believed. */
export type SnapshotRow = {
  snapshot: SnapshotId;
  at: Date;
  /** destinations that hold its manifest */
  destinations: readonly string[];
  facts: { bytes: number; records: number; purpose: 'backup' | 'safety'; warnings: number } | null;
  /** why its manifest is not believed */
  refused: StrongroomError | null;
  /** last reading of each copy, by destination; by the names of the records */
  proofs: Readonly<Record<string, { at: Date; verdict: 'good' | 'bad' }>>;
  isHeld: boolean;
};

export type Timeline = {
  /** newest first */
  rows: readonly SnapshotRow[];
  /** older ones that are not in `rows` */
  older: number;
  /** destinations that could not be listed */
  failures: readonly StrongroomError[];
};

export type SnapshotDetail = {
  found: VerifiedManifest;
  /** newest first; null = the record under that name is not believed */
  proofs: readonly ProofRecord[];
  refusedProofs: number;
  holds: readonly HoldRecord[];
  /** by the newest record that is believed */
  isHeld: boolean;
  failures: readonly StrongroomError[];
};

export type RunRow = { cluster: string; record: RunRecord };
export type Runs = { rows: readonly RunRow[]; refused: number; failures: readonly StrongroomError[] };

export type RetentionRow = {
  snapshot: SnapshotId;
  at: Date;
  action: 'keep' | 'remove' | 'defer';
  reasons: readonly string[];
  deferUntil: Date | null;
};
/** `rows` null = no retention is configured there: everything is kept. */
export type RetentionPreview = {
  destination: string;
  rows: readonly RetentionRow[] | null;
  /** why it cannot be said */
  problem: StrongroomError | null;
  /** how many manifests were not opened, and are taken for those of good backups */
  unopened: number;
};

export type ReleaseRequest = { cluster: string; snapshot: SnapshotId; who: string; why: string };
/** `until` null = until it is released. */
export type HoldRequest = ReleaseRequest & { until: Date | null };
export type Held = {
  /** destinations that took the record; none when a release had only legal holds left to lift */
  stored: readonly string[];
  /** destinations that did not take it, or a legal hold */
  failed: readonly string[];
  /** what whoever asked should know all the same */
  warnings: readonly string[];
};

export type DashboardSource = {
  fleet(): readonly WatchedStatus[];
  /** the zone of its schedule; UTC without one */
  zoneOf(cluster: string): string;
  /** next runs by the schedule, soonest first */
  planned(cluster: string, now: Date): readonly PlannedJob[];
  timeline(cluster: string, signal: AbortSignal): Promise<Timeline>;
  snapshot(cluster: string, snapshot: SnapshotId, signal: AbortSignal): Promise<SnapshotDetail>;
  runs(cluster: string, signal: AbortSignal): Promise<Runs>;
  retention(cluster: string, signal: AbortSignal): Promise<readonly RetentionPreview[]>;
  /** Signs and stores the record of a hold, and sets legal holds where there are such. Rejects when no destination took it. */
  hold(request: HoldRequest, signal: AbortSignal): Promise<Held>;
  /** Ends a hold likewise. Rejects with E_PRECONDITION when nothing is held. */
  release(request: ReleaseRequest, signal: AbortSignal): Promise<Held>;
};

export type QueuedRun = {
  id: string;
  cluster: string;
  job: string;
  state: string;
  since: Date | null;
  progress: string;
};

/** A queue beside the pages. Everything rejects with E_QUEUE_UNREACHABLE while Redis does not answer. */
export type DashboardQueue = {
  /** jobs by queue and state */
  counts(signal: AbortSignal): Promise<Readonly<Record<string, Readonly<Record<string, number>>>>>;
  /** at work and waiting, those at work first */
  current(signal: AbortSignal): Promise<readonly QueuedRun[]>;
  /** jobs that can be asked for: those that the cluster's schedule has */
  canAsk(cluster: string): readonly string[];
  /** The queues themselves, for bull-board to look at. */
  queues(signal: AbortSignal): Promise<readonly Queue[]>;
  /** Puts a run into the queue; the id there. The error says whether it may have been taken all the same. */
  ask(cluster: string, job: string, who: string, signal: AbortSignal): Promise<string>;
  /** Tells of every run that starts, goes on and ends, and when the queue goes away or comes back, until `signal` aborts. */
  listen(onEvent: (event: LiveEvent) => void, signal: AbortSignal): void;
};

export type LiveEvent =
  | { kind: 'started' | 'progress' | 'ended' | 'failed'; id: string; cluster: string; job: string; text: string }
  /** of the queue itself: it is away, or there again */
  | { kind: 'queue-away' | 'queue-back'; text: string };
