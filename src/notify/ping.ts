/**
 * Dead man's pings: a service that expects to hear of every good run calls somebody when it hears nothing, also when
 * strongroom, its machine or its network is gone. A ping is sent only for a run that kept its whole promise.
 */
import { exchange } from './http.ts';
import type { HttpSinkOptions, SecretSource } from './sink.ts';
import { clip, plain } from './text.ts';

/** How a run ended. */
export type RunEnd = {
  cluster: string;
  job: string;
  /** true = every copy, every proof, every wrap that was promised; "partly" is false */
  isKept: boolean;
  at: Date;
  /** what is missing or failed; one line or several, no secret */
  text: string;
};

export type PingOptions = HttpSinkOptions & {
  /** everything before the path of a cluster */
  url: SecretSource;
  method: 'GET' | 'POST';
  /** below the URL; `{cluster}` and `{job}` are replaced; '' = the URL itself */
  path: string;
  /** below that, for a run that failed */
  failPath: string;
  /** below that, for `notify test`: what the service notes without believing that a run was good or bad */
  testPath: string;
};

const TEXT_LIMIT = 10_000;

export class PingSink {
  readonly name: string;
  readonly type = 'ping';
  readonly #options: PingOptions;

  constructor(options: PingOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** Resolves when the service took it; rejects as `send` of a sink does. */
  async ping(run: RunEnd, signal: AbortSignal): Promise<void> {
    await this.#request(run, run.isKept ? '' : this.#options.failPath, signal);
  }

  /** Asks the service for `cluster` without telling it of a good or a failed run. */
  async test(cluster: string, job: string, at: Date, signal: AbortSignal): Promise<void> {
    const run = { cluster, job, isKept: false, at, text: 'a test of strongroom; no run' };
    await this.#request(run, this.#options.testPath, signal);
  }

  async #request(run: RunEnd, suffix: string, signal: AbortSignal): Promise<void> {
    const { url, path, method } = this.#options;
    const base = (await url.resolve(signal)).reveal().trim();
    const own = path.replaceAll('{cluster}', run.cluster).replaceAll('{job}', run.job);
    const request = {
      method,
      url: below(base, [own, suffix]),
      ...(method === 'POST'
        ? { headers: { 'content-type': 'text/plain; charset=utf-8' }, body: clip(plain(run.text), TEXT_LIMIT) }
        : {}),
      secrets: [base],
    };
    await exchange(this.#options, request, signal);
  }
}

/** A query, as some services want it, stays behind the path. */
function below(base: string, parts: readonly string[]): string {
  const [path = '', ...query] = base.split('?');
  const joined = [path.replace(/\/+$/, ''), ...parts.filter((part) => part !== '')].join('/');
  return query.length === 0 ? joined : `${joined}?${query.join('?')}`;
}
