/**
 * A network of its own: two namespaces of the kernel with one wire between them, on which packets are really lost. The
 * program under test runs at one end; what it talks to stays where it is, on 127.0.0.1 of the machine.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { lossFilter } from './packet-loss.ts';
import { type RunningProcess, startProcess } from './process.ts';

const FAR_END = fileURLToPath(new URL('./net-far-end.ts', import.meta.url));
const PREFIX = 'strongroom-';
/** of the two ends; they exist in our namespaces only */
const NEAR = '10.77.0.2';
const FAR = '10.77.0.1';

const run = promisify(execFile);

/** `answer`: every name leads to the far end; `gone`: there is no such name; `silent`: no answer at all. */
export type Dns = 'answer' | 'gone' | 'silent';

export type NetOptions = {
  /** port at the far end, and the server behind it as an `http:` URL of 127.0.0.1 */
  services: Readonly<Record<number, string>>;
  /** told of the bytes that the program sends to a service */
  onSent?: (port: number, chunk: Buffer) => void;
};

export class NetNamespace implements AsyncDisposable {
  readonly #near: string;
  readonly #far: string;
  readonly #directory: string;
  readonly #stack = new AsyncDisposableStack();
  /** ports, in the order of their filters */
  #losing: readonly number[] = [];

  private constructor(name: string, directory: string) {
    this.#near = `${name}-near`;
    this.#far = `${name}-far`;
    this.#directory = directory;
  }

  /**
   * Needs root, `ip` and `tc`, and a kernel with the `bpf` classifier; see {@link namespacesMissing}. Whoever creates it
   * disposes it: namespaces, wires, sockets, files and the process at the far end are gone then, and none of them stays
   * when this rejects. What a killed run of before left is removed.
   */
  static async create(options: NetOptions): Promise<NetNamespace> {
    await removeLeft();
    const directory = await mkdtemp(join(tmpdir(), 'strongroom-net-'));
    const net = new NetNamespace(`${PREFIX}${process.pid}-${randomBytes(4).toString('hex')}`, directory);
    try {
      await net.#build();
      await net.#connect(options);
      return net;
    } catch (e) {
      await net[Symbol.asyncDispose]();
      throw e;
    }
  }

  /** The address of the services, for whoever is at the near end; every name leads there as well. */
  get address(): string {
    return FAR;
  }

  /** The words before a command that run it at the near end. */
  get exec(): readonly [string, ...string[]] {
    return ['ip', 'netns', 'exec', this.#near];
  }

  /** For `name` alone when it is given; the others are answered then. */
  async dns(mode: Dns, name = ''): Promise<void> {
    await writeFile(join(this.#directory, 'dns'), `${mode} ${name}`);
  }

  /**
   * From now on `share` (0 to 1) of the TCP packets of `ports` are lost on their way, in each direction and at random; 1
   * is a black hole. Below 1 the first packets of connections are spared: each of them costs a second when it is lost.
   */
  async lose(share: number, ...ports: number[]): Promise<void> {
    await this.heal();
    for (const [index, port] of ports.entries()) {
      for (const [namespace, side] of [
        [this.#near, 'source'],
        [this.#far, 'destination'],
      ] as const) {
        const program = lossFilter({ share, port, side, spareSyn: share < 1 });
        const match = ['protocol', 'ip', 'prio', String(index + 1), 'bpf', 'bytecode', program];
        const action = ['action', 'mirred', 'egress', 'redirect', 'dev', 'lost'];
        await run('tc', ['-n', namespace, 'filter', 'add', 'dev', 'wire', 'ingress', ...match, ...action]);
      }
    }
    this.#losing = ports;
  }

  /** Ends the loss. */
  async heal(): Promise<void> {
    for (const namespace of [this.#near, this.#far]) {
      await run('tc', ['-n', namespace, 'filter', 'del', 'dev', 'wire', 'ingress']);
    }
    this.#losing = [];
  }

  /** How many packets of `port` were lost since the last `lose`, as the kernel counts them, both directions. */
  async lost(port: number): Promise<number> {
    const priority = String(this.#losing.indexOf(port) + 1);
    const counts = [this.#near, this.#far].map(async (namespace) => {
      const show = [
        '-n',
        namespace,
        '-s',
        'filter',
        'show',
        'dev',
        'wire',
        'ingress',
        'protocol',
        'ip',
        'prio',
        priority,
      ];
      const { stdout } = await run('tc', show);
      return Number(/Sent \d+ bytes (\d+) pkt/.exec(stdout)?.[1] ?? 0);
    });
    return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  async #build(): Promise<void> {
    const [near, far] = [this.#near, this.#far];
    this.#stack.defer(() => rm(this.#directory, { recursive: true, force: true }));
    for (const namespace of [near, far]) {
      this.#stack.defer(() => removeNamespace(namespace));
      await run('ip', ['netns', 'add', namespace]);
    }
    await run('ip', ['link', 'add', 'wire', 'netns', near, 'type', 'veth', 'peer', 'name', 'wire', 'netns', far]);
    for (const [namespace, address] of [
      [near, NEAR],
      [far, FAR],
    ] as const) {
      const ip = (...args: string[]) => run('ip', ['-n', namespace, ...args]);
      // What is to be lost is led into a wire that ends nowhere: the kernel has no action to drop here.
      await ip('link', 'add', 'lost', 'type', 'veth', 'peer', 'name', 'nowhere');
      await ip('addr', 'add', `${address}/24`, 'dev', 'wire');
      // Packets, not what the kernel would hand over as one piece in place of many.
      await ip('link', 'set', 'wire', 'gso_max_segs', '1');
      for (const device of ['lo', 'wire', 'lost', 'nowhere']) await ip('link', 'set', device, 'up');
      await run('tc', ['-n', namespace, 'qdisc', 'add', 'dev', 'wire', 'ingress']);
    }
    // `ip netns exec` puts it in the place of /etc/resolv.conf.
    const etc = join('/etc/netns', near);
    await mkdir(etc, { recursive: true });
    await writeFile(join(etc, 'resolv.conf'), `nameserver ${FAR}\noptions timeout:1 attempts:1\n`);
    await this.dns('answer');
  }

  /** Sockets of files know no namespaces: over them the far end reaches the servers of the machine. */
  async #connect({ services, onSent }: NetOptions): Promise<void> {
    const ports: Record<string, string> = {};
    for (const [port, url] of Object.entries(services)) {
      const path = join(this.#directory, `${port}.sock`);
      const relay = await startRelay(path, url, (chunk) => onSent?.(Number(port), chunk));
      this.#stack.defer(() => relay[Symbol.asyncDispose]());
      ports[port] = path;
    }
    const ready = join(this.#directory, 'ready');
    const spec = { address: FAR, ports, dnsFile: join(this.#directory, 'dns'), readyFile: ready };
    const farEnd: RunningProcess = await startProcess({
      name: 'net-far-end',
      command: 'ip',
      args: ['netns', 'exec', this.#far, process.execPath, FAR_END, JSON.stringify(spec)],
      ready: () => Promise.resolve(existsSync(ready)),
      timeoutMs: 120_000,
    });
    this.#stack.defer(() => farEnd[Symbol.asyncDispose]());
  }
}

/**
 * Why there can be no {@link NetNamespace} here, in one line, or '' when there can. With CI=true it throws instead:
 * nothing is skipped there for want of something.
 */
export async function namespacesMissing(): Promise<string> {
  try {
    await using net = await NetNamespace.create({ services: {} });
    await net.lose(0.5, 80);
    return '';
  } catch (e) {
    const said = e instanceof Error ? e.message.trim().split('\n').at(-1) : String(e);
    const missing = `no network namespaces (root, ip and tc of iproute2, and a kernel with cls_bpf are needed): ${said}`;
    if (process.env['CI'] === 'true') throw new Error(missing, { cause: e });
    process.stderr.write(`TESTS ARE SKIPPED: ${missing}\n`);
    return missing;
  }
}

async function removeNamespace(name: string): Promise<void> {
  await rm(join('/etc/netns', name), { recursive: true, force: true });
  // Empty when it was ours alone.
  await rmdir('/etc/netns').catch(() => undefined);
  if (existsSync(join('/run/netns', name))) await run('ip', ['netns', 'delete', name]);
}

/** Namespaces of processes that are no more. */
async function removeLeft(): Promise<void> {
  for (const name of await readdir('/run/netns').catch(() => [])) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) await removeNamespace(name);
  }
}

/** A socket in the file system that leads to `url`. */
async function startRelay(path: string, url: string, onSent: (chunk: Buffer) => void): Promise<AsyncDisposable> {
  const { hostname, port } = new URL(url);
  const sockets = new Set<Socket>();
  const server: Server = createServer((client) => {
    const target = connect(Number(port), hostname);
    client.on('data', onSent);
    for (const [socket, other] of [
      [client, target],
      [target, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.once('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });
  server.listen(path);
  await once(server, 'listening');
  return {
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
