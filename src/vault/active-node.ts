/** The one node that work is done on: its client with a session, and what it said of itself. */
import { StrongroomError } from '../core/errors.ts';
import type { Secret } from '../core/secret.ts';
import type { Session } from './auth.ts';
import type { Call, NodeClient } from './client.ts';
import type { Connection } from './connection.ts';
import type { NodeView } from './node-view.ts';
import type { AutopilotState, Mount, RaftServer, SealBackendStatus, TokenInfo } from './schemas.ts';
import type { Answer } from './status-errors.ts';

/**
 * Was active when it was looked for; that may change at any time, and a call then rejects with E_VAULT_STANDBY. Holds
 * nothing of its own: client and session belong to the cluster.
 */
export class ActiveNode {
  readonly view: NodeView;
  readonly client: NodeClient;
  readonly session: Session;

  constructor(view: NodeView, client: NodeClient, session: Session) {
    this.view = view;
    this.client = client;
    this.session = session;
  }

  get url(): string {
    return this.client.url;
  }

  /**
   * Asks on `on` whether who answers there is the active node; E_VAULT_STANDBY when not. Before every exchange of
   * snapshots, and on the very connection of it: an OpenBao 2.7 standby hands out a stale one, and one that is sent to it
   * seals it without applying it.
   */
  async assertActive(on: Connection, signal: AbortSignal): Promise<void> {
    const leader = await this.client.leader(signal, undefined, on);
    if (leader.is_self) return;
    throw new StrongroomError('E_VAULT_STANDBY', `node ${this.url} is no longer the active one`, {
      hint: 'the leader has changed; look for the active node again and try there',
      details: { node: this.url, leader: leader.leader_address },
    });
  }

  /** `fn` with a valid token; see {@link Session.run}. */
  withToken<T>(signal: AbortSignal, fn: (token: Secret) => Promise<T>): Promise<T> {
    return this.session.run(this.client, signal, fn);
  }

  raftConfiguration(signal: AbortSignal): Promise<readonly RaftServer[]> {
    return this.withToken(signal, (token) => this.client.raftConfiguration(token, signal));
  }

  /** null = not known yet, or autopilot is off */
  autopilotState(signal: AbortSignal): Promise<AutopilotState | null> {
    return this.withToken(signal, (token) => this.client.autopilotState(token, signal));
  }

  /** null = not Vault, or older than 1.16 */
  sealBackendStatus(signal: AbortSignal): Promise<SealBackendStatus | null> {
    return this.client.sealBackendStatus(signal);
  }

  lookupSelf(signal: AbortSignal): Promise<TokenInfo> {
    return this.withToken(signal, (token) => this.client.lookupSelf(token, signal, this.session.namespace));
  }

  /** null = not readable; see {@link NodeClient.listenerReadTimeoutMs} */
  listenerReadTimeoutMs(signal: AbortSignal): Promise<number | null> {
    return this.withToken(signal, (token) => this.client.listenerReadTimeoutMs(token, signal));
  }

  mounts(signal: AbortSignal): Promise<Readonly<Record<string, Mount>>> {
    return this.withToken(signal, (token) => this.client.mounts(token, signal));
  }

  /** Any authenticated read; null = nothing there */
  read(path: string, signal: AbortSignal): Promise<unknown> {
    return this.withToken(signal, (token) => this.client.read(path, token, signal));
  }

  /** Any authenticated call that must succeed (200 or 204). */
  call(call: Omit<Call, 'token' | 'namespace'>): Promise<Answer> {
    return this.withToken(call.signal, (token) => this.client.call({ ...call, token }));
  }
}
