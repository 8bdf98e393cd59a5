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
  /** between two looks at what ends on a day that is known beforehand, in milliseconds; default 10 minutes */
  loginEveryMs?: number;
  /** clusters whose keys are tried at the same time; default 128 */
  keysAtOnce?: number;
};

/**
 * Mostly a few are on their way at a time. Where KMS hangs each holds its place until the limit, and the keys of a thousand
 * clusters must still be tried before those that are well count as not tried.
 */
const KEYS_AT_ONCE = 128;
/** Each is a handshake with every node. */
const LOGINS_AT_ONCE = 16;
const LOGIN_EVERY_MS = 10 * 60_000;
/** Two tries of a key, each with a deadline of ten seconds, and some to find out why. */
const LIMIT_MS = 35_000;
const CONFIRM_MS = 5_000;
const LONGEST_TICK_MS = 1_000;

type Turn = { nextAt: number; isBusy: boolean };
/** Each in its own time: nodes that hang must not hold up the keys. */
type Planned = { probe: ClusterProbe; keys: Turn; login: Turn };

/** Its `samples` are a source for the exposition. Whoever made it closes it. */
export class Prober {
  readonly #options: ProberOptions;
  #config: Config;
  #planned = new Map<string, Planned>();
  #isBehind = false;

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
    const { keysAtOnce = KEYS_AT_ONCE, loginEveryMs = LOGIN_EVERY_MS } = this.#options;
    const tryKeys = async ({ probe }: Planned): Promise<number> => {
      await probe.probeKeys(signal);
      return this.#everyMs;
    };
    // What could not be looked at is looked at again soon.
    const lookAtLogin = async ({ probe }: Planned): Promise<number> =>
      (await probe.probeLogin(signal)) ? loginEveryMs : this.#everyMs;
    await Promise.all([
      this.#goRound('keys', keysAtOnce, tryKeys, signal),
      this.#goRound('login', LOGINS_AT_ONCE, lookAtLogin, signal),
    ]);
  }

  /** `work` tells after how many milliseconds it is to be done again. */
  async #goRound(
    what: 'keys' | 'login',
    atOnce: number,
    work: (planned: Planned) => Promise<number>,
    signal: AbortSignal,
  ): Promise<void> {
    const running = new Set<Promise<void>>();
    while (!signal.aborted) {
      const now = performance.now();
      const isDue = ({ [what]: turn }: Planned): boolean => !turn.isBusy && turn.nextAt <= now;
      // The one that waits longest first: where there is more to do than time, each has its turn.
      const due = [...this.#planned.values()].filter(isDue).sort((a, b) => a[what].nextAt - b[what].nextAt);
      if (what === 'keys') this.#tellBehind(due.length, now - (due[0]?.keys.nextAt ?? now));
      for (const planned of due.slice(0, atOnce - running.size)) {
        const one = this.#take(planned, what, work).finally(() => running.delete(one));
        running.add(one);
      }
      // Full: the next one begins when one has ended, and not at the next tick.
      if (running.size >= atOnce) await Promise.race(running);
      else await delay(Math.min(LONGEST_TICK_MS, this.#everyMs / 10), undefined, { signal }).catch(() => undefined);
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

  async #take(planned: Planned, what: 'keys' | 'login', work: (planned: Planned) => Promise<number>): Promise<void> {
    const turn = planned[what];
    turn.isBusy = true;
    let againMs = this.#everyMs;
    try {
      againMs = await work(planned);
    } catch (e) {
      this.#options.log.error({ cluster: planned.probe.facts.cluster, err: describeError(e) }, 'a probe failed');
    } finally {
      turn.isBusy = false;
      turn.nextAt = Math.max(turn.nextAt + againMs, performance.now());
    }
  }

  /** A key that is not tried for long counts as dead: whoever is paged for it finds the reason in the log. Once for each change. */
  #tellBehind(waiting: number, lateMs: number): void {
    const isBehind = lateMs > this.#everyMs;
    if (isBehind && !this.#isBehind) {
      const hint =
        'does KMS hang? Otherwise raise worker.probeEvery, or divide the clusters among several installations';
      this.#options.log.warn({ waiting, lateMs, hint }, 'keys are not tried every worker.probeEvery: too many wait');
    }
    this.#isBehind = isBehind;
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
        const turn = (): Turn => ({ nextAt: now + phase(name) * this.#everyMs, isBusy: false });
        return [name, { probe, keys: turn(), login: turn() }];
      }),
    );
    for (const { probe } of before.values()) probe.close();
  }
}

/** 0 to 1, the same for one name in every process: clusters are spread over the minute. */
function phase(name: string): number {
  return createHash('sha256').update(name).digest().readUInt32BE(0) / 2 ** 32;
}
