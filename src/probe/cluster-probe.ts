/** All that is probed of one cluster, with a limit on the time that it may take. */
import { clusterConfig } from '../config/cluster-config.ts';
import type { Config } from '../config/load.ts';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { Clock } from '../core/units.ts';
import { type KeyFacts, KeyProbe } from './key-probe.ts';
import { type LoginFacts, NOTHING_KNOWN, probeLogin } from './login-probe.ts';

/** `probedAt` = when the last probe of its keys ended; null = none has. `since` = when the first one was waited for. */
export type ClusterFacts = {
  cluster: string;
  since: Date;
  probedAt: Date | null;
  keys: readonly KeyFacts[];
  login: LoginFacts;
};

export type ClusterProbeOptions = {
  clock: Clock;
  log: Log;
  /** the longest that one probe may take, in milliseconds */
  limitMs: number;
  confirmMs: number;
};

/** Whoever made it closes it; a probe under way ends then, and what it found is dropped. */
export class ClusterProbe {
  readonly #options: ClusterProbeOptions;
  readonly #config: Config;
  readonly #keys: readonly KeyProbe[];
  readonly #closed = new AbortController();
  #facts: ClusterFacts;
  #told = '';

  /** `known` = facts from before a change of the config. Throws as clusterConfig does. */
  constructor(config: Config, cluster: string, options: ClusterProbeOptions, known: ClusterFacts | null = null) {
    this.#config = config;
    this.#options = options;
    const { clock, log, confirmMs } = options;
    const { name, sealKms, encryption } = clusterConfig(config, cluster);
    const uses = [
      ...(sealKms === undefined ? [] : [{ use: 'seal', key: sealKms } as const]),
      ...encryption.kms.map((key) => ({ use: 'wrap', key }) as const),
    ];
    this.#keys = uses.map(({ use, key }) => {
      const same = (facts: KeyFacts): boolean => facts.use === use && key.keyId.endsWith(`/${facts.key}`);
      const before = known?.keys.find((facts) => same(facts) && facts.region === key.region);
      return new KeyProbe({ cluster: name, use, key, clock, log, confirmMs }, before);
    });
    const nothing = { since: clock.now(), probedAt: null, login: NOTHING_KNOWN };
    this.#facts = { ...nothing, ...known, cluster, keys: this.#keys.map(({ facts }) => facts) };
  }

  get facts(): ClusterFacts {
    return this.#facts;
  }

  /** Tries each key. Never rejects but for a defect. After `signal` aborted or it was closed, nothing that it found is kept. */
  async probeKeys(signal: AbortSignal): Promise<void> {
    const stop = AbortSignal.any([signal, this.#closed.signal]);
    const deadline = AbortSignal.timeout(this.#options.limitMs);
    try {
      await Promise.all(this.#keys.map((key) => key.probe(deadline, stop)));
      this.#facts = { ...this.#facts, probedAt: this.#options.clock.now() };
    } catch (e) {
      if (!stop.aborted) throw e;
    }
  }

  /** Looks at certificates and token, as {@link probeKeys} at keys; false = something could not be looked at. */
  async probeLogin(signal: AbortSignal): Promise<boolean> {
    const stop = AbortSignal.any([signal, this.#closed.signal]);
    const { login, isWhole } = await this.#login(AbortSignal.any([stop, AbortSignal.timeout(this.#options.limitMs)]));
    if (!stop.aborted) this.#facts = { ...this.#facts, login };
    return isWhole;
  }

  close(): void {
    this.#closed.abort();
    for (const key of this.#keys) key.close();
  }

  /** A cluster that hangs has the facts of before. */
  async #login(signal: AbortSignal): Promise<{ login: LoginFacts; isWhole: boolean }> {
    const { clock, log } = this.#options;
    const cluster = clusterConfig(this.#config, this.#facts.cluster);
    const before = this.#facts.login;
    let found: { facts: LoginFacts; problems: unknown[] };
    try {
      found = await probeLogin({ config: this.#config, cluster, clock, log }, before, signal);
    } catch (e) {
      found = { facts: before, problems: [e] };
    }
    const said = found.problems.map(describeError).join('; ');
    // Once for each change.
    if (said !== this.#told && !this.#closed.signal.aborted) {
      const { name } = cluster;
      if (said === '') log.info({ cluster: name }, 'certificates and token can be looked at again');
      else log.warn({ cluster: name, err: said }, 'certificates or token cannot be looked at');
    }
    this.#told = said;
    return { login: found.facts, isWhole: said === '' };
  }
}
