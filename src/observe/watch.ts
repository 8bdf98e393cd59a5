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

  /** Goes round until `signal` aborts; then it resolves, when the readings under way have ended. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const began = performance.now();
      await this.round(signal);
      const rest = this.#options.refreshEveryMs - (performance.now() - began);
      await delay(Math.max(0, rest), undefined, { signal }).catch(() => undefined);
    }
  }

  /** One round. Never rejects but for a defect. */
  async round(signal: AbortSignal): Promise<void> {
    const todo = [...this.#watched.values()];
    const readers = Array.from({ length: AT_ONCE }, async () => {
      for (let one = todo.shift(); one !== undefined && !signal.aborted; one = todo.shift()) {
        await this.#read(one, signal);
      }
    });
    await Promise.all(readers);
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
    watched.status = keepKnown(watched.status, next);
  }
}

function hanging(cluster: string, cause: unknown): StrongroomError {
  return new StrongroomError('E_TIMEOUT', `reading the status of ${cluster} takes too long`, { cause });
}

function defect(cluster: string, cause: unknown): StrongroomError {
  return new StrongroomError('E_BUG', `reading the status of ${cluster} failed`, { cause });
}
