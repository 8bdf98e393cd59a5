/** Reads the status of every cluster again and again in the background, so that a scrape waits for nobody. */
import { setTimeout as delay } from 'node:timers/promises';
import { isError, StrongroomError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { Clock } from '../core/units.ts';
import type { ClusterStatus } from './cluster-status.ts';
import { keepKnown, unknownStatus } from './merge.ts';
import { RecordMemory } from './record-memory.ts';
import { Silence } from './silence.ts';
import type { Limits } from './verdict.ts';

export type WatchTarget = {
  cluster: string;
  /** names of its configured destinations */
  destinations: readonly string[];
  /** its limits at a time */
  limits(now: Date): Limits;
};

export type WatchOptions = {
  /** reads one status; `silence` and `memory` are to be handed to readStatus */
  read(
    cluster: string,
    now: Date,
    kept: { memory: RecordMemory; silence: Silence },
    signal: AbortSignal,
  ): Promise<ClusterStatus>;
  targets: readonly WatchTarget[];
  /** between two readings of a cluster, in milliseconds */
  refreshEveryMs: number;
  clock: Clock;
  log: Log;
  /** a reading that takes longer is given up, in milliseconds */
  deadlineMs?: number;
};

export type WatchedStatus = { status: ClusterStatus; since: Date; limits: Limits };

type Watched = {
  target: WatchTarget;
  since: Date;
  status: ClusterStatus | null;
  memory: RecordMemory;
};

/** A thousand clusters must not open ten thousand connections. */
const AT_ONCE = 4;
/** Each destination has 20 s, several times; what takes longer hangs. */
const DEADLINE_MS = 120_000;
/** So many rounds may be lost before what is known is too old to be trusted. */
const ROUNDS_LOST = 5;
const LEAST_STATUS_AGE_MS = 10 * 60_000;

export class Watch {
  readonly #options: WatchOptions;
  readonly #silence = new Silence();
  readonly #busy = new Set<string>();
  readonly #waiting: (() => void)[] = [];
  #free = AT_ONCE;
  #watched = new Map<string, Watched>();

  constructor(options: WatchOptions) {
    this.#options = options;
    this.retarget(options.targets);
  }

  /** Other clusters from now on; what is known of those that stay is kept. */
  retarget(targets: readonly WatchTarget[]): void {
    const since = this.#options.clock.now();
    this.#watched = new Map(
      targets.map((target) => {
        const known = this.#watched.get(target.cluster);
        return [target.cluster, { since, status: null, memory: new RecordMemory(), ...known, target }];
      }),
    );
  }

  /** What is known of every cluster now; waits for nobody. */
  current(): WatchedStatus[] {
    const { clock, refreshEveryMs } = this.#options;
    const now = clock.now();
    const maxStatusAgeMs = Math.max(ROUNDS_LOST * refreshEveryMs, LEAST_STATUS_AGE_MS);
    return [...this.#watched.values()].map(({ target, status, since }) => ({
      status: status ?? unknownStatus(target.cluster, [], null),
      since,
      limits: { ...target.limits(now), maxStatusAgeMs },
    }));
  }

  /**
   * Begins a round at each interval until `signal` aborts; then it resolves, when the readings under way have ended. A round
   * waits for none before it: a cluster that is still being read is left out of it. Rejects only with a defect.
   */
  async run(signal: AbortSignal): Promise<void> {
    const failed = new AbortController();
    const either = AbortSignal.any([signal, failed.signal]);
    const rounds = new Set<Promise<void>>();
    while (!either.aborted) {
      const round = this.round(either)
        .catch((e: unknown) => failed.abort(e))
        .finally(() => rounds.delete(round));
      rounds.add(round);
      await delay(this.#options.refreshEveryMs, undefined, { signal: either }).catch(() => undefined);
    }
    await Promise.all(rounds);
    failed.signal.throwIfAborted();
  }

  /** Reads every cluster that is not being read, and resolves when that is done. Rejects only with a defect. */
  async round(signal: AbortSignal): Promise<void> {
    const due = [...this.#watched.values()].filter(({ target }) => !this.#busy.has(target.cluster));
    await Promise.all(due.map((watched) => this.#inTurn(watched, signal)));
  }

  async #inTurn(watched: Watched, signal: AbortSignal): Promise<void> {
    const { cluster } = watched.target;
    this.#busy.add(cluster);
    await this.#slot();
    try {
      if (!signal.aborted) await this.#read(watched, signal);
    } finally {
      this.#busy.delete(cluster);
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }

  /** Resolves when one of {@link AT_ONCE} is free, and takes it. */
  async #slot(): Promise<void> {
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    await promise;
  }

  async #read(watched: Watched, signal: AbortSignal): Promise<void> {
    const { cluster, destinations } = watched.target;
    const now = this.#options.clock.now();
    const deadline = AbortSignal.timeout(this.#options.deadlineMs ?? DEADLINE_MS);
    let next: ClusterStatus;
    try {
      const kept = { memory: watched.memory, silence: this.#silence };
      next = await this.#options.read(cluster, now, kept, AbortSignal.any([signal, deadline]));
    } catch (e) {
      if (signal.aborted) return;
      const error = deadline.aborted ? hanging(cluster, e) : isError(e) ? e : defect(cluster, e);
      this.#options.log.warn({ cluster, err: error.toJSON() }, 'the status of a cluster cannot be read');
      next = unknownStatus(cluster, destinations, error);
    }
    for (const { name, away } of next.destinations) this.#silence.tell(name, away, this.#options.clock.now());
    // Other targets may have come meanwhile; what was asked of one that is gone is of no use.
    const current = this.#watched.get(cluster);
    if (current !== undefined) current.status = keepKnown(current.status, next);
  }
}

function hanging(cluster: string, cause: unknown): StrongroomError {
  return new StrongroomError('E_TIMEOUT', `reading the status of ${cluster} takes too long`, { cause });
}

function defect(cluster: string, cause: unknown): StrongroomError {
  return new StrongroomError('E_BUG', `reading the status of ${cluster} failed`, { cause });
}
