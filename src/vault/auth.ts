/** One login per cluster and run: made when first needed, renewed while it is used, revoked at the end. */
import { describeError, isError, StrongroomError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { Secret } from '../core/secret.ts';
import { checked, type NodeClient } from './client.ts';
import { type Login, login, type VaultAuth } from './login.ts';
import { authSchema } from './schemas.ts';
import { type Lifetime, TokenRenewal } from './token-renewal.ts';

export type { VaultAuth } from './login.ts';

export type SessionOptions = {
  auth: VaultAuth;
  /** where the login is; sent with the login and with what the token does to itself, never with a snapshot */
  namespace?: string;
  log: Log;
  /** for the revocation at the end, in ms: a cluster that is gone must not hold up the exit */
  revokeMs?: number;
};

const REVOKE_MS = 5_000;

type Held = Login & { renewal: TokenRenewal };

/**
 * Where the token comes from. The owner disposes it: a token that this session got by a login is revoked then, a
 * configured one is left alone. Calls may run at the same time; they share one login.
 */
export class Session implements AsyncDisposable {
  readonly #options: SessionOptions;
  readonly #stop = new AbortController();
  #pending: Promise<Held> | undefined;
  /** the node used last: the active node may change during a run, and the token is valid on all of them */
  #client: NodeClient | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  get namespace(): string | undefined {
    return this.#options.namespace;
  }

  /** The token, after a login on `client`'s node if there is none yet. E_VAULT_LOGIN when that is refused. */
  async token(client: NodeClient, signal: AbortSignal): Promise<Secret> {
    return (await this.#held(client, signal)).token;
  }

  /**
   * `fn` with a token. When it is denied because the token is no longer valid (expired, revoked, or gone with a restore)
   * there is one fresh login and one more `fn`; a configured token cannot be replaced.
   */
  async run<T>(client: NodeClient, signal: AbortSignal, fn: (token: Secret) => Promise<T>): Promise<T> {
    const pending = this.#start(client);
    const held = await abortable(pending, signal);
    try {
      return await fn(held.token);
    } catch (e) {
      if (!isError(e, 'E_VAULT_DENIED') || this.#options.auth.method === 'token') throw e;
      if (await this.#isValid(client, held.token, e, signal)) throw e;
      this.#forget(pending, held);
      return fn(await this.token(client, signal));
    }
  }

  /** Drops the token without revoking it, as after a restore, which replaced all tokens of the cluster. */
  async forget(): Promise<void> {
    const pending = this.#pending;
    if (pending === undefined) return;
    const held = await pending.catch(() => null);
    if (held !== null) this.#forget(pending, held);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const pending = this.#pending;
    this.#pending = undefined;
    // Ends a login that still runs; the revocation below has its own deadline.
    this.#stop.abort(new StrongroomError('E_INTERRUPTED', 'the session with the cluster is closed'));
    const held = await pending?.catch(() => null);
    if (held === undefined || held === null) return;
    held.renewal[Symbol.dispose]();
    await this.#revoke(held);
  }

  async #held(client: NodeClient, signal: AbortSignal): Promise<Held> {
    return abortable(this.#start(client), signal);
  }

  #start(client: NodeClient): Promise<Held> {
    this.#client = client;
    if (this.#pending !== undefined) return this.#pending;
    // Under the session's own signal: one caller that is aborted must not fail the login of the others.
    const pending = this.#obtain(client, this.#stop.signal);
    this.#pending = pending;
    pending.catch(() => {
      if (this.#pending === pending) this.#pending = undefined;
    });
    return pending;
  }

  async #obtain(client: NodeClient, signal: AbortSignal): Promise<Held> {
    const { auth, namespace, log } = this.#options;
    const got =
      auth.method === 'token'
        ? await this.#configured(client, auth.token, signal)
        : await login(client, auth, namespace, signal);
    if (got.uses > 0)
      log.warn({ uses: got.uses }, 'the token is good for a limited number of requests: a run may need more');
    const renewable = got.renewable && got.type === 'service';
    return {
      ...got,
      renewal: new TokenRenewal({ ttlMs: got.ttlMs, renewable }, (s) => this.#renew(got.token, s), log),
    };
  }

  async #configured(client: NodeClient, token: Secret, signal: AbortSignal): Promise<Login> {
    try {
      const info = await client.lookupSelf(token, signal, this.#options.namespace);
      return {
        token,
        ttlMs: info.ttl * 1000,
        renewable: info.renewable ?? false,
        type: info.type === 'batch' ? 'batch' : 'service',
        uses: info.num_uses ?? 0,
      };
    } catch (e) {
      // A token may lack the right to look at itself and still be good for its one purpose: the call itself will tell.
      if (!isError(e, 'E_VAULT_DENIED')) throw e;
      return { token, ttlMs: 0, renewable: false, type: 'service', uses: 0 };
    }
  }

  async #renew(token: Secret, signal: AbortSignal): Promise<Lifetime> {
    const client = this.#client;
    if (client === undefined) return { ttlMs: 0, renewable: false };
    const path = 'auth/token/renew-self';
    const answer = await client.call({
      method: 'POST',
      path,
      token,
      namespace: this.#options.namespace,
      body: {},
      signal,
    });
    const { auth } = checked(authSchema, answer, path, client.url);
    return { ttlMs: auth.lease_duration * 1000, renewable: auth.renewable };
  }

  async #isValid(client: NodeClient, token: Secret, denied: StrongroomError, signal: AbortSignal): Promise<boolean> {
    // Vault says so; OpenBao answers "permission denied" to both, so the token is asked about itself.
    const said = denied.details['server'];
    if (typeof said === 'string' && /invalid token|bad token/.test(said)) return false;
    try {
      await client.lookupSelf(token, signal, this.#options.namespace);
      return true;
    } catch (e) {
      if (isError(e, 'E_VAULT_DENIED')) return false;
      throw e;
    }
  }

  #forget(pending: Promise<Held>, held: Held): void {
    held.renewal[Symbol.dispose]();
    if (this.#pending === pending) this.#pending = undefined;
  }

  async #revoke(held: Held): Promise<void> {
    const { auth, namespace, log, revokeMs } = this.#options;
    if (auth.method === 'token' || held.type === 'batch' || this.#client === undefined) return;
    const timeoutMs = revokeMs ?? REVOKE_MS;
    const call = { method: 'POST', path: 'auth/token/revoke-self', token: held.token, namespace, timeoutMs } as const;
    try {
      await this.#client.call({ ...call, body: {}, signal: new AbortController().signal });
    } catch (e) {
      // Best effort: it expires by itself, and the run's own result matters more than this.
      log.warn({ ttlMs: held.ttlMs }, `the token was not revoked and lives on until it expires: ${describeError(e)}`);
    }
  }
}

/** Waits for `promise` no longer than `signal` allows; the promise itself goes on. */
async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
