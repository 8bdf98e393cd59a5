/** Real OpenBao clusters on loopback, for tests, drills and trying things out: raft storage, own ports, own files. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureTool } from '../../scripts/tools.ts';
import { BaoNode, type BaoRequest } from './bao-node.ts';
import { type Seal, sealShares } from './bao-seals.ts';
import { autopilotHealthy, initialise, isActive, leader, raftServers, sealStatus } from './bao-status.ts';
import type { HttpAnswer } from './http-json.ts';
import { createPki, type Pki } from './pki.ts';
import { freePort } from './process.ts';
import { until, type WaitOptions } from './until.ts';

/**
 * A busy machine holds its processes up for more than a second at times: with 1 here the leader then steps down, in
 * whatever a test is looking at.
 */
const PATIENCE_AMONG_SEVERAL = 4;

export type BaoVersion = '2.6.2' | '2.7.2';

export type ClusterOptions = {
  version: BaoVersion;
  /** 1 or 3 */
  nodes?: 1 | 3;
  /** default Shamir, 3 shares, 2 of them open */
  seal?: Seal;
  /** prefix of the node ids, `n` gives n1, n2, n3; give another to clusters that must not be mistaken for each other */
  idPrefix?: string;
  /** HTTPS listeners with certificates of a new authority, whose PEM is `caPem` */
  tls?: boolean;
  /** listener keys with the server's names and units: `{ http_read_timeout: '30m' }` */
  listenerTimeouts?: Partial<
    Record<'http_read_timeout' | 'http_read_header_timeout' | 'http_write_timeout' | 'http_idle_timeout', string>
  >;
  /** more listener keys, such as `{ telemetry: { unauthenticated_metrics_access: 'true' } }` */
  listener?: Readonly<Record<string, unknown>>;
  /** more top-level configuration, such as `{ raw_storage_endpoint: true }` */
  top?: Readonly<Record<string, unknown>>;
  /** false leaves running processes that nobody initialised: a fresh target */
  initialise?: boolean;
  signal?: AbortSignal;
};

/**
 * Starts a cluster and, unless told otherwise, brings it to `nodes` voters. The caller disposes of it: every process is
 * killed and every file removed. On a throw nothing is left behind.
 */
export async function startCluster(options: ClusterOptions): Promise<BaoCluster> {
  const binary = await ensureTool(`bao-${options.version}`, options.signal);
  const cluster = await BaoCluster.create(binary, options);
  try {
    await Promise.all(cluster.nodes.map((node) => node.start({ signal: options.signal })));
    if (options.initialise !== false) await cluster.initialise(options.signal);
    return cluster;
  } catch (e) {
    await cluster[Symbol.asyncDispose]();
    throw e;
  }
}

export class BaoCluster implements AsyncDisposable {
  readonly version: BaoVersion;
  readonly seal: Seal;
  readonly nodes: readonly BaoNode[];
  /** PEM of the authority of the listeners, when they speak TLS */
  readonly caPem: string | undefined;
  readonly pki: Pki | undefined;
  readonly #directory: string;
  #rootToken: string | undefined;
  #shares: string[] = [];

  private constructor(options: ClusterOptions, seal: Seal, nodes: BaoNode[], directory: string, pki: Pki | undefined) {
    this.version = options.version;
    this.seal = seal;
    this.nodes = nodes;
    this.pki = pki;
    this.caPem = pki?.caPem;
    this.#directory = directory;
  }

  /** Files and ports, nothing started. Use {@link startCluster}. */
  static async create(binary: string, options: ClusterOptions): Promise<BaoCluster> {
    const directory = await mkdtemp(join(tmpdir(), 'strongroom-bao-'));
    try {
      const pki = options.tls === true ? await createPki(join(directory, 'pki')) : undefined;
      const seal = options.seal ?? { type: 'shamir' };
      const nodes: BaoNode[] = [];
      const count = options.nodes ?? 1;
      for (let i = 1; i <= count; i += 1) {
        const id = `${options.idPrefix ?? 'n'}${i}`;
        const config = {
          id,
          dataDir: join(directory, id),
          apiPort: await freePort(),
          clusterPort: await freePort(),
          seal,
          ...(count > 1 && { patience: PATIENCE_AMONG_SEVERAL }),
          tls: await pki?.issue({ name: id }),
          listener: { ...options.listener, ...options.listenerTimeouts },
          top: options.top ?? {},
        };
        nodes.push(new BaoNode(binary, directory, config, pki?.caPem));
      }
      return new BaoCluster(options, seal, nodes, directory, pki);
    } catch (e) {
      await rm(directory, { recursive: true, force: true });
      throw e;
    }
  }

  /** Of the initialisation here; after a restore the source's token is the valid one. */
  get rootToken(): string {
    if (this.#rootToken === undefined) throw new Error('the cluster was not initialised by this harness');
    return this.#rootToken;
  }

  /** Hex shares of the unseal key; empty under auto-unseal. */
  get unsealShares(): readonly string[] {
    return this.seal.type === 'shamir' ? this.#shares : [];
  }

  /** Hex shares of the recovery key; empty under Shamir. */
  get recoveryShares(): readonly string[] {
    return this.seal.type === 'shamir' ? [] : this.#shares;
  }

  /** The first node; every cluster has one. */
  get first(): BaoNode {
    const [node] = this.nodes;
    if (node === undefined) throw new Error('a cluster without nodes');
    return node;
  }

  /** Initialises the first node, unseals it, lets the others join and waits until all are voters. */
  async initialise(signal?: AbortSignal): Promise<void> {
    await this.initialiseFirst(signal);
    await this.joinOthers(signal);
  }

  /** Initialises and unseals the first node alone: what a total loss is restored into. */
  async initialiseFirst(signal?: AbortSignal): Promise<void> {
    const { shares, threshold } = sealShares(this.seal);
    const made = await initialise(this.first, this.seal.type === 'shamir', shares, threshold, signal);
    this.#shares = made.shares;
    this.#rootToken = made.rootToken;
    await this.#unseal(this.first, this.unsealShares);
    await until('the first node is active', async () => ((await isActive(this.first)) ? true : undefined), { signal });
  }

  /** After a restore the cluster is the source's: its root token and its shares are the valid ones. */
  adopt(rootToken: string, shares: readonly string[]): void {
    this.#rootToken = rootToken;
    this.#shares = [...shares];
  }

  /** What a restored OpenBao node needs before others can join: until then it keeps raft's TLS keys of before. */
  async restartFirst(signal?: AbortSignal): Promise<void> {
    await this.first.restart();
    await this.#unseal(this.first, this.unsealShares);
    await until('the first node is active', async () => ((await isActive(this.first)) ? true : undefined), { signal });
  }

  /** Lets every node but the first join, and waits until all are voters. */
  async joinOthers(signal?: AbortSignal): Promise<void> {
    if (this.nodes.length === 1) return;
    await Promise.all(this.nodes.slice(1).map((node) => this.join(node, signal)));
    await this.waitVoters(this.nodes.length, { signal });
  }

  /**
   * Makes an empty, running node a member: it asks the active node to let it in and is unsealed. Autopilot promotes it
   * within a second, or after watching it for 10 s when the active node has been active for longer than that.
   */
  async join(node: BaoNode, signal?: AbortSignal): Promise<void> {
    const active = await this.waitActive({ signal });
    const body = { leader_api_addr: active.url, ...(this.caPem === undefined ? {} : { leader_ca_cert: this.caPem }) };
    await node.call('POST', 'sys/storage/raft/join', { body, timeoutMs: 30_000, signal });
    if (this.seal.type === 'shamir') {
      await this.#unseal(node, this.unsealShares, { signal });
    } else {
      // Restarted before the first entries have arrived it would be neither new nor a member; the number of recovery
      // shares is among them ("initialized" is true too early).
      const { shares } = sealShares(this.seal);
      const knows = async () => ((await sealStatus(node)).n === shares ? true : undefined);
      await until(`${node.id} has the data of its cluster`, knows, { signal });
      // A running server tries to unseal itself every 5 s, a starting one at once.
      await node.restart();
      await until(`${node.id} is unsealed`, async () => ((await sealStatus(node)).sealed ? undefined : true), {
        signal,
      });
    }
    // Asking a standby for its leader makes it connect to it at once instead of at its next look, up to 2.5 s later;
    // autopilot promotes only who has been heard of.
    const follows = async () => ((await leader(node)).leader_address === active.url ? true : undefined);
    await until(`${node.id} follows ${active.id}`, follows, { signal });
  }

  /** The node that is active and says so itself, or undefined. Nodes that do not answer are not. */
  async active(): Promise<BaoNode | undefined> {
    const answers = await Promise.all(
      this.nodes.map(async (node) => (node.process === undefined ? false : isActive(node).catch(() => false))),
    );
    return this.nodes.find((_, i) => answers[i]);
  }

  async waitActive(options: WaitOptions = {}): Promise<BaoNode> {
    return until('a node is active', () => this.active(), options);
  }

  /** Nodes that run and are not active. */
  async standbys(): Promise<BaoNode[]> {
    const active = await this.active();
    return this.nodes.filter((node) => node !== active && node.process !== undefined);
  }

  /** Waits until the raft configuration has exactly `count` voters. */
  async waitVoters(count: number, options: WaitOptions = {}): Promise<void> {
    await until(
      `${count} voters`,
      async () => {
        const active = await this.active();
        if (active === undefined) return undefined;
        const voters = (await raftServers(active, this.rootToken)).filter((server) => server.voter);
        return voters.length === count ? true : undefined;
      },
      options,
    );
  }

  /** Waits until autopilot has heard of every voter and calls all of them healthy: some seconds after they are voters. */
  async waitHealthy(options: WaitOptions = {}): Promise<void> {
    await until(
      'autopilot finds the cluster healthy',
      async () => {
        const active = await this.active();
        return active !== undefined && (await autopilotHealthy(active, this.rootToken)) ? true : undefined;
      },
      options,
    );
  }

  /** Gives each running, sealed node its shares, and waits until it is unsealed. Default: the shares of this harness. */
  async unsealAll(shares: readonly string[] = this.unsealShares, options: WaitOptions = {}): Promise<void> {
    await Promise.all(
      this.nodes.filter((node) => node.process !== undefined).map((node) => this.#unseal(node, shares, options)),
    );
  }

  /** Asks the active node to step down, and returns the one that is active after it. */
  async leaderStepDown(options: WaitOptions = {}): Promise<BaoNode> {
    const before = await this.waitActive(options);
    await before.call('PUT', 'sys/step-down', { token: this.rootToken });
    return until(
      'another node is active',
      async () => {
        const active = await this.active();
        return active === before ? undefined : active;
      },
      options,
    );
  }

  /** One request to the active node with the root token; throws on any status but 2xx. */
  async call(method: string, path: string, body?: unknown, options: BaoRequest = {}): Promise<HttpAnswer> {
    const node = await this.waitActive({ signal: options.signal });
    return node.call(method, path, { token: this.rootToken, body, ...options });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.map((node) => node[Symbol.asyncDispose]()));
    await rm(this.#directory, { recursive: true, force: true, maxRetries: 3 });
  }

  async #unseal(node: BaoNode, shares: readonly string[], options: WaitOptions = {}): Promise<void> {
    const { sealed, t } = await sealStatus(node);
    if (!sealed || shares.length === 0) return;
    for (const key of shares.slice(0, t)) {
      await node.call('PUT', 'sys/unseal', { body: { key }, timeoutMs: options.timeoutMs ?? 30_000 });
    }
    // The last call of a joining node still answers "sealed": it opens when the leader has let it in.
    await until(`${node.id} is unsealed`, async () => ((await sealStatus(node)).sealed ? undefined : true), options);
  }
}
