/** Probes every cluster again and again: by day and by night, so that a dead key or an old certificate is no surprise. */
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '../config/load.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { Clock } from '../core/units.ts';
import type { Sample } from '../observe/exposition.ts';
import { ClusterProbe } from './cluster-probe.ts';
import { probeSamples } from './samples.ts';

export type ProberOptions = {
  config: Config;
  clock: Clock;
  log: Log;
  /** the longest that the probe of one cluster may take, in milliseconds */
  limitMs?: number;
  /** until a failure that may pass is tried again before it is believed, in milliseconds */
  confirmMs?: number;
};

/** A thousand clusters must not open ten thousand connections. */
const AT_ONCE = 8;
/** Two tries of a key, each with a deadline of ten seconds, and some to find out why. */
const LIMIT_MS = 35_000;
const CONFIRM_MS = 5_000;
const LONGEST_TICK_MS = 1_000;

type Planned = { probe: ClusterProbe; nextAt: number; isBusy: boolean };

/** Its `samples` are a source for the exposition. Whoever made it closes it. */
export class Prober {
  readonly #options: ProberOptions;
  #config: Config;
  #planned = new Map<string, Planned>();

  constructor(options: ProberOptions) {
    this.#options = options;
    this.#config = options.config;
    this.#plan();
  }

  /** Another config from now on. What is known of keys and clusters that stay is kept; probes under way end. */
  reconfigure(config: Config): void {
    this.#config = config;
    this.#plan();
  }

  /** Probes each cluster at its own moment of every `worker.probeEvery`, until `signal` aborts; then it resolves. */
  async run(signal: AbortSignal): Promise<void> {
    const running = new Set<Promise<void>>();
    while (!signal.aborted) {
      const now = performance.now();
      const due = [...this.#planned.values()].filter(({ nextAt, isBusy }) => !isBusy && nextAt <= now);
      // The one that waits longest first: where there is more to do than time, each has its turn.
      due.sort((a, b) => a.nextAt - b.nextAt);
      for (const planned of due.slice(0, AT_ONCE - running.size)) {
        const one = this.#probe(planned, signal).finally(() => running.delete(one));
        running.add(one);
      }
      await delay(Math.min(LONGEST_TICK_MS, this.#everyMs / 10), undefined, { signal }).catch(() => undefined);
    }
    await Promise.all(running);
  }

  /** What is known at `now`. */
  samples(now: Date): Sample[] {
    return [...this.#planned.values()].flatMap(({ probe }) => probeSamples(probe.facts, this.#everyMs, now));
  }

  close(): void {
    for (const { probe } of this.#planned.values()) probe.close();
    this.#planned.clear();
  }

  get #everyMs(): number {
    return this.#config.worker.probeEvery;
  }

  async #probe(planned: Planned, signal: AbortSignal): Promise<void> {
    planned.isBusy = true;
    try {
      await planned.probe.probe(signal);
    } catch (e) {
      this.#options.log.error({ cluster: planned.probe.facts.cluster, err: describeError(e) }, 'a probe failed');
    } finally {
      planned.isBusy = false;
      planned.nextAt = Math.max(planned.nextAt + this.#everyMs, performance.now());
    }
  }

  #plan(): void {
    const { clock, log, limitMs = LIMIT_MS, confirmMs = CONFIRM_MS } = this.#options;
    const before = this.#planned;
    const now = performance.now();
    this.#planned = new Map(
      Object.keys(this.#config.clusters).map((name) => {
        const known = before.get(name);
        const probe = new ClusterProbe(
          this.#config,
          name,
          { clock, log, limitMs, confirmMs },
          known?.probe.facts ?? null,
        );
        // A change of the config is mostly one of keys or nodes: those that were known are looked at again soon.
        return [name, { probe, nextAt: now + phase(name) * this.#everyMs, isBusy: false }];
      }),
    );
    for (const { probe } of before.values()) probe.close();
  }
}

/** 0 to 1, the same for one name in every process: clusters are spread over the minute. */
function phase(name: string): number {
  return createHash('sha256').update(name).digest().readUInt32BE(0) / 2 ** 32;
}
