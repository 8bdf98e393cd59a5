/** A cluster as a whole: its nodes, the active one among them, its members. */
import { once } from 'node:events';
import { isError, StrongroomError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { ActiveNode } from './active-node.ts';
import { Session, type VaultAuth } from './auth.ts';
import { NodeClient } from './client.ts';
import { discoverNodes, type KubernetesDiscovery } from './discover.ts';
import { type NodeView, viewNode } from './node-view.ts';
import { assertOneNode } from './one-node.ts';
import { failureToleranceOf, quorumOf } from './quorum.ts';
import type { RaftServer } from './schemas.ts';
import type { TlsOptions } from './tls.ts';
import { DEFAULT_TIMEOUTS, NodeTransport, nodeOrigin, type Timeouts } from './transport.ts';
import { type ClusterView, pickActive, warningsOf } from './verdict.ts';

export type { NodeView } from './node-view.ts';
export type { ClusterView } from './verdict.ts';

export type ClusterOptions = {
  name: string;
  /** the URL of every node, never that of a load balancer; or where to find the pods */
  nodes: readonly string[] | KubernetesDiscovery;
  tls?: TlsOptions;
  auth: VaultAuth;
  /** of the login only */
  namespace?: string;
  timeouts?: Partial<Timeouts>;
  log: Log;
};

export type Members = {
  servers: readonly RaftServer[];
  voters: number;
  quorum: number;
  failureTolerance: number;
};

/** The owner disposes it: the token of a login is revoked, then every connection is closed. */
export class VaultCluster implements AsyncDisposable {
  readonly name: string;
  readonly session: Session;
  readonly #options: ClusterOptions;
  readonly #clients = new Map<string, NodeClient>();
  /** addresses that were asked whether they are one node, with what they were taken for then */
  readonly #single = new Set<string>();
  #warned = '';

  /** Throws E_CONFIG_INVALID for addresses or logins that cannot work. Opens nothing yet. */
  constructor(options: ClusterOptions) {
    this.name = options.name;
    this.#options = options;
    const { nodes, auth, tls, namespace, log } = options;
    if (isUrls(nodes)) {
      if (nodes.length === 0) throw new StrongroomError('E_CONFIG_INVALID', `cluster ${options.name} has no nodes`);
      for (const url of nodes) nodeOrigin(url);
    }
    if (auth.method === 'cert' && (tls?.cert === undefined || tls.key === undefined)) {
      throw new StrongroomError('E_CONFIG_INVALID', `cluster ${options.name} logs in by certificate, but has none`, {
        hint: 'set `tls.cert` and `tls.key`',
      });
    }
    this.session = new Session({ auth, log, ...(namespace === undefined ? {} : { namespace }) });
  }

  /** Every node, found anew each time when they are discovered. The clients belong to the cluster. */
  async nodes(signal: AbortSignal): Promise<readonly NodeClient[]> {
    const { nodes } = this.#options;
    const urls = isUrls(nodes) ? nodes : await discoverNodes(nodes, signal);
    return [...new Set(urls.map(nodeOrigin))].map((origin) => this.node(origin));
  }

  /** The client of one node by its URL; for seal work, which needs no token. */
  node(url: string): NodeClient {
    const origin = nodeOrigin(url);
    const known = this.#clients.get(origin);
    if (known !== undefined) return known;
    const client = this.#newClient(origin);
    this.#clients.set(origin, client);
    return client;
  }

  /** Asks every node at the same time, without a token; takes `probeMs` at most, or twice that for old versions. */
  async survey(signal: AbortSignal): Promise<ClusterView> {
    const clients = await this.nodes(signal);
    const nodes = await Promise.all(clients.map((client) => viewNode(client, this.#probeMs, signal)));
    const warnings = warningsOf(nodes);
    this.#warn(warnings);
    return { name: this.name, nodes, warnings };
  }

  /**
   * Looks at one node whenever a connection to it ends, until `signal` aborts: between two looks at the cluster a
   * supervisor may have started the process anew. Never sees the end of a connection that nobody opened. Each look is on
   * connections of its own: where the network cut several, those that do not know it yet would answer "gone" for a living node.
   */
  async watch(url: string, onView: (view: NodeView) => void, signal: AbortSignal): Promise<void> {
    const client = this.node(url);
    const aborted = once(signal, 'abort');
    while (!signal.aborted) {
      await Promise.race([client.transport.disconnected(), aborted]);
      if (signal.aborted) return;
      const look = this.#newClient(client.url);
      await using _transport = look.transport;
      try {
        onView(await viewNode(look, this.#probeMs, signal));
      } catch (e) {
        if (!signal.aborted) throw e;
      }
    }
  }

  /**
   * The one node that says of itself that it is active and answers an authenticated read. Rejects with the exact reason
   * why there is none: E_VAULT_UNREACHABLE, _TLS, _UNINITIALISED, _SEALED, _REMOVED, _STANDBY, _NOT_RAFT, E_QUORUM_LOST,
   * E_NO_ACTIVE_NODE; with E_PRECONDITION for the address of a load balancer; or with what the login or the read met.
   */
  async active(signal: AbortSignal): Promise<ActiveNode> {
    const view = await this.#picked(await this.survey(signal), signal);
    const node = new ActiveNode(view, this.node(view.url), this.session);
    try {
      await node.raftConfiguration(signal);
    } catch (e) {
      if (!isError(e, 'E_VAULT_DENIED')) throw e;
      await this.#lookedUp(node, e, signal);
    }
    return node;
  }

  /** Who counts for quorum. Needs `read` on sys/storage/raft/configuration. */
  async members(signal: AbortSignal): Promise<Members> {
    const servers = await (await this.active(signal)).raftConfiguration(signal);
    const voters = servers.filter(({ voter }) => voter).length;
    return { servers, voters, quorum: quorumOf(voters), failureTolerance: failureToleranceOf(voters) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The revocation needs a connection, so the session goes first.
    await this.session[Symbol.asyncDispose]();
    await Promise.all([...this.#clients.values()].map(({ transport }) => transport[Symbol.asyncDispose]()));
    this.#clients.clear();
  }

  /** With no connection yet; whoever asked for it disposes its transport. */
  #newClient(origin: string): NodeClient {
    const { tls, timeouts, log } = this.#options;
    const transport = new NodeTransport({
      url: origin,
      log,
      ...(tls ? { tls } : {}),
      ...(timeouts ? { timeouts } : {}),
    });
    return new NodeClient(transport);
  }

  get #probeMs(): number {
    return this.#options.timeouts?.probeMs ?? DEFAULT_TIMEOUTS.probeMs;
  }

  async #picked(view: ClusterView, signal: AbortSignal): Promise<NodeView> {
    let picked: NodeView;
    try {
      picked = pickActive(view);
    } catch (e) {
      // Whoever asks a balancer meets no active node, or too many, as chance will have it.
      await this.#assertSingle(view.nodes, signal);
      throw e;
    }
    await this.#assertSingle([picked], signal);
    return picked;
  }

  /** Once for each address and each thing it is taken for: it takes connections, and an election asks every second. */
  async #assertSingle(nodes: readonly NodeView[], signal: AbortSignal): Promise<void> {
    const speaking = nodes.filter(({ state }) => state === 'active' || state === 'standby');
    const unasked = speaking.filter(({ url, state }) => !this.#single.has(`${state} ${url}`));
    await Promise.all(unasked.map(({ url }) => assertOneNode(this.node(url), this.#probeMs, signal)));
    for (const { url, state } of unasked) this.#single.add(`${state} ${url}`);
  }

  async #lookedUp(node: ActiveNode, denied: StrongroomError, signal: AbortSignal): Promise<void> {
    try {
      await node.lookupSelf(signal);
    } catch (e) {
      if (!isError(e, 'E_VAULT_DENIED')) throw e;
      throw new StrongroomError('E_VAULT_LOGIN', `the token is not accepted by ${node.url}`, {
        hint: `it is invalid, expired, of another namespace, or may read neither auth/token/lookup-self nor sys/storage/raft/configuration: ${denied.hint ?? ''}`,
        details: { node: node.url },
        cause: denied,
      });
    }
  }

  /** Once for each new state of things, not once a survey. */
  #warn(warnings: readonly string[]): void {
    const text = warnings.join('\n');
    if (text !== this.#warned) for (const line of warnings) this.#options.log.warn({ cluster: this.name }, line);
    this.#warned = text;
  }
}

function isUrls(nodes: ClusterOptions['nodes']): nodes is readonly string[] {
  return Array.isArray(nodes);
}
