/** The servers, files and steps of the quickstart. Every step is the thing itself: real servers, the CLI as a process. */
import { performance } from 'node:perf_hooks';
import { formatBytes, formatDuration } from '../../src/core/units.ts';
import { type BaoCluster, startCluster } from '../../test/support/bao-cluster.ts';
import { type KmsEmulator, startKms } from '../../test/support/kms-emulator.ts';
import { startMoto } from '../../test/support/s3-servers.ts';
import { type Seed, verifySeed, writeSeed } from '../../test/support/seed.ts';
import { runCli } from '../../test/support/strongroom-cli.ts';
import { World, worldEnv } from '../../test/support/world.ts';
import { ensureTool } from '../tools.ts';
import { tell } from './tell.ts';

/** How long something took, in milliseconds. */
export type Act = { what: string; ms: number };

const REGION = 'eu-central-1';
const SECOND_REGION = 'eu-west-1';
const CLUSTER = 'prod';
const BUCKETS = ['strongroom-1', 'strongroom-2'] as const;

type Backup = { bytes: number; records: number; snapshot: string };
type Compared = { differences: string[]; parts: number };

/** Fetches what is missing, then starts a KMS and an S3 server. Disposing ends every process and removes every file. */
export async function openStage(signal: AbortSignal): Promise<Stage> {
  await Promise.all([ensureTool('bao-2.6.2', signal), ensureTool('moto', signal)]);
  await using stack = new AsyncDisposableStack();
  const kms = stack.use(await startKms());
  const s3 = stack.use(await startMoto(signal));
  for (const bucket of BUCKETS) await s3.createBucket(bucket, { versioning: true });
  const sealKey = kms.createKey({ region: REGION });
  const wrapping = [REGION, SECOND_REGION].map((region) => kms.createKey({ region }));
  const [first, second] = BUCKETS;
  // This S3 server computes no SHA-256 of its own, so nothing rests on it: every byte is read back instead.
  const extra = { checksum: 'none' };
  const world = stack.use(
    await World.create({
      name: CLUSTER,
      destinations: {
        primary: { type: 's3', server: s3, bucket: first, extra },
        second: { type: 's3', server: s3, bucket: second, extra },
      },
      kms: wrapping.map((keyArn) => ({ keyArn, endpoint: kms.url })),
      sealKms: { keyArn: sealKey, endpoint: kms.url },
      cluster: { prove: 'read' },
      canOpen: true,
    }),
  );
  return new Stage({ kms, sealKey, world, env: worldEnv(s3), signal }, stack.move());
}

type Props = { kms: KmsEmulator; sealKey: string; world: World; env: Record<string, string>; signal: AbortSignal };

export class Stage implements AsyncDisposable {
  readonly #props: Props;
  readonly #stack: AsyncDisposableStack;
  #sourceToken = '';

  constructor(props: Props, stack: AsyncDisposableStack) {
    this.#props = props;
    this.#stack = stack;
  }

  get directory(): string {
    return this.#props.world.directory;
  }

  async startSource(took: Act[]): Promise<BaoCluster> {
    const cluster = await timed('start of three nodes', took, () => this.#start('bao-', true));
    this.#sourceToken = cluster.rootToken;
    tell.line(`${cluster.nodes.map(({ url }) => url).join(', ')}: unsealed, three voters`);
    return cluster;
  }

  async seed(cluster: BaoCluster, took: Act[]): Promise<Seed> {
    const { world, signal } = this.#props;
    const seed = await timed('writing the secrets', took, () => writeSeed(cluster, { signal }));
    await world.grant(cluster);
    await world.config(cluster.nodes.map(({ url }) => url));
    tell.line(`${Object.keys(seed).join(', ')}; and a login for strongroom that may read snapshots, nothing else`);
    return seed;
  }

  async backup(took: Act[]): Promise<Backup> {
    const text = await timed('backup', took, () => this.#strongroom(['backup', '--cluster', CLUSTER]));
    tell.block(text);
    const { manifest } = JSON.parse(await this.#quietly(['snapshots', 'show', 'latest', '--json'])) as {
      manifest: { snapshot: string; archive: { bytes: number; state: { records: number } } };
    };
    return { bytes: manifest.archive.bytes, records: manifest.archive.state.records, snapshot: manifest.snapshot };
  }

  async showManifest(): Promise<void> {
    tell.block(await this.#strongroom(['snapshots', 'show', 'latest', '--cluster', CLUSTER]));
  }

  async destroySource(cluster: BaoCluster, took: Act[]): Promise<void> {
    await timed('losing everything', took, async () => {
      await Promise.all(cluster.nodes.map((node) => node.kill()));
      await cluster[Symbol.asyncDispose]();
    });
    tell.line('SIGKILL to every node, data directories removed');
  }

  async restore(took: Act[]): Promise<BaoCluster> {
    const { world } = this.#props;
    const target = await timed('start of a fresh node', took, async () => {
      const fresh = await this.#start('new-', false);
      await fresh.initialiseFirst(this.#props.signal);
      return fresh;
    });
    await world.write('target-token', target.rootToken);
    await world.config(target.nodes.map(({ url }) => url));
    const token = `file:${world.directory}/target-token`;
    const args = [
      'restore',
      '--cluster',
      CLUSTER,
      '--snapshot',
      'latest',
      '--confirm',
      CLUSTER,
      '--target-token',
      token,
    ];
    tell.block(await timed('restore, with proof', took, () => this.#strongroom(args)));
    await timed('restart, and two more nodes join', took, async () => {
      target.adopt(this.#sourceToken, []);
      await target.restartFirst(this.#props.signal);
      await target.joinOthers(this.#props.signal);
    });
    tell.line('restarted once, as OpenBao needs, then two empty nodes joined it: three voters again');
    return target;
  }

  async compare(target: BaoCluster, seed: Seed, took: Act[]): Promise<Compared> {
    const { signal } = this.#props;
    const differences = await timed('comparing every secret', took, () =>
      verifySeed(target, this.#sourceToken, seed, { signal }),
    );
    if (differences.length > 0) throw new Error(`the restored cluster differs: ${differences.join('; ')}`);
    const parts = Object.keys(seed);
    tell.line(`read back and equal: ${parts.join(', ')}`);
    return { differences, parts: parts.length };
  }

  tellProof(result: { backup: Backup; compared: Compared; took: readonly Act[]; totalMs: number }): void {
    const { backup, compared, took } = result;
    tell.line(
      `snapshot ${backup.snapshot}: ${formatBytes(backup.bytes)}, ${backup.records} records, verified while it streamed`,
    );
    tell.line(
      'encrypted for two KMS keys and one break-glass recipient; stored in two buckets and read back from both',
    );
    tell.line('installed into a cluster that had never seen it, and compared record by record');
    tell.line(`${compared.parts} kinds of secrets read back equal, an old transit ciphertext decrypted`);
    for (const { what, ms } of took) tell.line(`${formatDuration(ms).padStart(8)}  ${what}`);
    tell.line(`${formatDuration(result.totalMs).padStart(8)}  in all`);
  }

  /** For --keep: where everything is, and commands to try. */
  async tellAccess(target: BaoCluster): Promise<void> {
    const { world, env } = this.#props;
    const active = await target.waitActive();
    await world.write('root-token', this.#sourceToken);
    const exports = Object.entries(env).map(([name, value]) => `export ${name}=${value}`);
    await world.write(
      'env.sh',
      [...exports, `export STRONGROOM_CONFIG=${world.directory}/strongroom.yaml`, ''].join('\n'),
    );
    tell.chapter('', 'it is still running');
    tell.line(`. ${world.directory}/env.sh`);
    tell.line('npm run -s strongroom -- snapshots list');
    tell.line('npm run -s strongroom -- backup --dry-run');
    tell.line('npm run -s strongroom -- snapshots verify latest');
    tell.line(`the cluster: ${active.url}, root token in ${world.directory}/root-token`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  async #start(idPrefix: string, initialise: boolean): Promise<BaoCluster> {
    const { kms, sealKey, signal } = this.#props;
    const seal = { type: 'awskms', endpoint: kms.url, keyId: sealKey, region: REGION } as const;
    return this.#stack.use(await startCluster({ version: '2.6.2', nodes: 3, idPrefix, seal, initialise, signal }));
  }

  /** Runs the CLI, shows the command, and gives what it printed. */
  async #strongroom(args: readonly string[]): Promise<string> {
    tell.command(args);
    return await this.#quietly(args);
  }

  async #quietly(args: readonly string[]): Promise<string> {
    const { world, env, signal } = this.#props;
    const result = await runCli([...args, '--config', `${world.directory}/strongroom.yaml`], { env });
    signal.throwIfAborted();
    if (result.code !== 0) throw new Error(`strongroom ${args[0] ?? ''} ended with ${result.code}\n${result.stderr}`);
    return result.stdout;
  }
}

async function timed<T>(what: string, took: Act[], run: () => Promise<T>): Promise<T> {
  const begin = performance.now();
  const value = await run();
  took.push({ what, ms: performance.now() - begin });
  return value;
}
