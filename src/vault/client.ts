/** The sys/* calls that strongroom makes, typed and checked: node-vault's client on our transport. */
import nodeVault from 'node-vault';
import type { z } from 'zod';
import { isError, StrongroomError } from '../core/errors.ts';
import type { Secret } from '../core/secret.ts';
import type { Connection } from './connection.ts';
import { goDurationMs } from './go-duration.ts';
import * as schemas from './schemas.ts';
import { type Answer, statusError } from './status-errors.ts';
import type { NodeTransport } from './transport.ts';

/** http_read_timeout of a listener whose configuration does not name one, in both products. */
export const DEFAULT_READ_TIMEOUT_MS = 30_000;

export type Call = {
  method: 'GET' | 'LIST' | 'POST' | 'PUT' | 'DELETE' | 'PATCH';
  /** after `/v1/`, already encoded */
  path: string;
  signal: AbortSignal;
  token?: Secret;
  /** for a login and for what a token does to itself; no snapshot path accepts one */
  namespace?: string | undefined;
  body?: Readonly<Record<string, unknown>>;
  timeoutMs?: number;
  /** asked on this connection; default: any */
  on?: Connection;
};

/** What node-vault passes to the function that stands in for its HTTP library, with our call riding along. */
type HookOptions = { method: string; uri: string; json?: Call['body']; call: Call };

/**
 * One node. Without `token` a call is unauthenticated. Every method rejects with a StrongroomError (the network's, or
 * what the status means) or with the abort reason; an answer of another shape than documented is E_VAULT_RESPONSE.
 */
export class NodeClient {
  readonly transport: NodeTransport;
  readonly #vault: nodeVault.client;

  constructor(transport: NodeTransport) {
    this.transport = transport;
    const hook = async (
      options: HookOptions,
    ): Promise<{ statusCode: number; body: Answer; request: { path: string } }> => {
      const { pathname, search } = new URL(options.uri);
      const { signal, token, namespace, timeoutMs, on } = options.call;
      const answer = await transport.json({
        method: options.method,
        path: `${pathname.replace(/^\/v1\//, '')}${search}`,
        signal,
        ...(token === undefined ? {} : { token }),
        ...(namespace === undefined ? {} : { namespace }),
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
        ...(on === undefined ? {} : { on }),
        ...(options.json === undefined ? {} : { body: options.json }),
      });
      // The whole answer goes through as the body of a 200: node-vault would lose the status of sys/health and all
      // errors but the first.
      return { statusCode: 200, body: answer, request: { path: pathname } };
    };
    this.#vault = nodeVault({
      endpoint: transport.origin,
      // Its own debug output prints request bodies, unseal key shares included.
      debug: () => undefined,
      'request-promise': { defaults: () => hook },
    });
    // It falls back to VAULT_TOKEN, VAULT_NAMESPACE and VAULT_PREFIX: what we send must come from our configuration.
    Object.assign(this.#vault, { token: '', namespace: '', pathPrefix: '' });
  }

  get url(): string {
    return this.transport.origin;
  }

  /** Any status is an answer here. */
  async ask(call: Call): Promise<Answer> {
    const answer: unknown = await this.#vault.request({
      method: call.method,
      path: `/${call.path}`,
      call,
      ...(call.body === undefined ? {} : { json: call.body }),
    });
    return answer as Answer;
  }

  /** The answer of a call that succeeded (200 or 204); anything else is thrown as what it means. */
  async call(call: Call): Promise<Answer> {
    const answer = await this.ask(call);
    if (answer.status !== 200 && answer.status !== 204) throw this.refused(answer, call);
    return answer;
  }

  /** What a refusing answer to `call` means. */
  refused(answer: Answer, call: Call): StrongroomError {
    const path = call.path.replace(/\?.*$/, '');
    return statusError(answer, { node: this.url, method: call.method, path, namespace: call.namespace });
  }

  /** The status is the message: 200 active, 429 standby, 474, 501, 503, 530 … */
  async health(signal: AbortSignal, timeoutMs?: number): Promise<schemas.Health & { status: number }> {
    const answer = await this.ask({ method: 'GET', path: 'sys/health', signal, ...timed(timeoutMs) });
    if (answer.json === undefined || answer.errors.length > 0) {
      throw this.refused(answer, { method: 'GET', path: 'sys/health', signal });
    }
    return { ...this.#checked(schemas.healthSchema, answer, 'sys/health'), status: answer.status };
  }

  async sealStatus(signal: AbortSignal, timeoutMs?: number): Promise<schemas.SealStatus> {
    return this.get(schemas.sealStatusSchema, 'sys/seal-status', { signal, ...timed(timeoutMs) });
  }

  /** A sealed node has none: E_VAULT_SEALED. */
  async leader(signal: AbortSignal, timeoutMs?: number, on?: Connection): Promise<schemas.Leader> {
    return this.get(schemas.leaderSchema, 'sys/leader', {
      signal,
      ...timed(timeoutMs),
      ...(on === undefined ? {} : { on }),
    });
  }

  async raftConfiguration(token: Secret, signal: AbortSignal): Promise<readonly schemas.RaftServer[]> {
    const answer = await this.get(schemas.raftConfigurationSchema, 'sys/storage/raft/configuration', { token, signal });
    return answer.data.config.servers;
  }

  /** null = not known yet (a young leader), or autopilot is off. */
  async autopilotState(token: Secret, signal: AbortSignal): Promise<schemas.AutopilotState | null> {
    const path = 'sys/storage/raft/autopilot/state';
    const answer = await this.ask({ method: 'GET', path, token, signal });
    if (answer.status === 404 && answer.errors.length === 0) return null;
    if (answer.status !== 200) throw this.refused(answer, { method: 'GET', path, signal });
    return this.#checked(schemas.autopilotStateSchema, answer, path).data;
  }

  /** null = not Vault, or older than 1.16. Asked without a token. */
  async sealBackendStatus(signal: AbortSignal, timeoutMs?: number): Promise<schemas.SealBackendStatus | null> {
    const path = 'sys/seal-backend-status';
    const answer = await this.ask({ method: 'GET', path, signal, ...timed(timeoutMs) });
    if (answer.status === 404 || answer.status === 403 || answer.status === 405) return null;
    if (answer.status !== 200) throw this.refused(answer, { method: 'GET', path, signal });
    return this.#checked(schemas.sealBackendStatusSchema, answer, path);
  }

  async lookupSelf(token: Secret, signal: AbortSignal, namespace?: string): Promise<schemas.TokenInfo> {
    return (await this.get(schemas.tokenSchema, 'auth/token/lookup-self', { token, signal, namespace })).data;
  }

  /**
   * `http_read_timeout` of the node's TCP listeners in ms, the shortest when there are several: within it a whole upload
   * must be done. null = not readable with this token, or this node does not tell (Vault answers for the active one only).
   */
  async listenerReadTimeoutMs(token: Secret, signal: AbortSignal): Promise<number | null> {
    try {
      const { data } = await this.get(schemas.sanitizedSchema, 'sys/config/state/sanitized', { token, signal });
      const listeners = (data.listeners ?? []).filter(({ type }) => type === undefined || type === 'tcp');
      if (listeners.length === 0) return DEFAULT_READ_TIMEOUT_MS;
      const all = listeners.map(({ config }) => goDurationMs(config?.http_read_timeout));
      // The servers take a value that is not above zero for "not set".
      return Math.min(...all.map((ms) => (ms === null || ms <= 0 ? DEFAULT_READ_TIMEOUT_MS : ms)));
    } catch (e) {
      if (isError(e, 'E_VAULT_DENIED') || isError(e, 'E_VAULT_STANDBY')) return null;
      throw e;
    }
  }

  /** Secret engines by path, such as `secret/`. */
  async mounts(token: Secret, signal: AbortSignal): Promise<Readonly<Record<string, schemas.Mount>>> {
    return (await this.get(schemas.mountsSchema, 'sys/mounts', { token, signal })).data;
  }

  /** Any authenticated read; null = nothing there. The caller checks the shape. */
  async read(path: string, token: Secret, signal: AbortSignal): Promise<unknown> {
    const answer = await this.ask({ method: 'GET', path, token, signal });
    if (answer.status === 404 && answer.errors.length === 0) return null;
    if (answer.status !== 200) throw this.refused(answer, { method: 'GET', path, signal });
    return answer.json;
  }

  /** A read whose answer must be a 200 of that shape. */
  async get<S extends z.ZodType>(schema: S, path: string, call: Omit<Call, 'method' | 'path'>): Promise<z.infer<S>> {
    return this.#checked(schema, await this.call({ ...call, method: 'GET', path }), path);
  }

  #checked<S extends z.ZodType>(schema: S, answer: Answer, path: string): z.infer<S> {
    return checked(schema, answer, path, this.url);
  }
}

/** The answer in that shape, or E_VAULT_RESPONSE naming what is wrong in it; values are not repeated. */
export function checked<S extends z.ZodType>(schema: S, answer: Answer, path: string, node: string): z.infer<S> {
  const result = schema.safeParse(answer.json);
  if (result.success) return result.data;
  const wrong = result.error.issues.map((issue) => `${issue.path.join('.') || 'body'}: ${issue.message}`);
  throw new StrongroomError(
    'E_VAULT_RESPONSE',
    `${path} on ${node} has another shape than documented (${wrong.slice(0, 3).join('; ')})`,
    {
      hint: 'is this the address of a Vault or OpenBao node? if it is, its version may be newer than this program knows',
      details: { node, path, status: answer.status },
      retryable: false,
    },
  );
}

function timed(timeoutMs: number | undefined): { timeoutMs?: number } {
  return timeoutMs === undefined ? {} : { timeoutMs };
}
