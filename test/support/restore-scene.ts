/** A cluster with a snapshot and something written since, and restores of it that are broken into. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isError, type StrongroomError } from '../../src/core/errors.ts';
import { filesIn } from './backup-trial.ts';
import { type BaoCluster, type ClusterOptions, startCluster } from './bao-cluster.ts';
import type { BaoNode } from './bao-node.ts';
import { installsOn, valueAt } from './restore-trial.ts';
import { grow } from './seed-bulk.ts';
import { type AppOptions, backUp } from './strongroom-app.ts';
import { type CliResult, runCli } from './strongroom-cli.ts';
import { RESTORE_POLICY, World, worldEnv } from './world.ts';

export const NO_S3 = worldEnv({ accessKeyId: '', secretAccessKey: '' });

export class RestoreScene implements AsyncDisposable {
  readonly cluster: BaoCluster;
  readonly world: World;
  readonly #stack: AsyncDisposableStack;

  private constructor(cluster: BaoCluster, world: World, stack: AsyncDisposableStack) {
    this.cluster = cluster;
    this.world = world;
    this.#stack = stack;
  }

  /** OpenBao 2.7.2 with a login for strongroom, kv/canary = `of the snapshot`, and so much more state. */
  static async open(
    idPrefix: string,
    options: Partial<ClusterOptions> & { stateBytes?: number } = {},
  ): Promise<RestoreScene> {
    const { stateBytes = 0, ...rest } = options;
    await using stack = new AsyncDisposableStack();
    const cluster = stack.use(await startCluster({ version: '2.7.2', idPrefix, ...rest }));
    const destinations = { only: { type: 'directory', path: 'only' } } as const;
    const world = stack.use(await World.create({ destinations, canOpen: true }));
    await mkdir(join(world.directory, 'only'));
    await world.grant(cluster, RESTORE_POLICY);
    await cluster.call('POST', 'sys/mounts/kv', { type: 'kv' });
    if (stateBytes > 0) await grow(cluster, stateBytes);
    await cluster.call('POST', 'kv/canary', { value: 'of the snapshot' });
    return new RestoreScene(cluster, world, stack.move());
  }

  /** Takes the snapshot, through the addresses that strongroom is told, and writes `written since` after it. */
  async backedUp(nodes: readonly string[] = this.cluster.nodes.map(({ url }) => url)): Promise<AppOptions> {
    const app = { configFile: await this.world.config(nodes), env: NO_S3 };
    await backUp(app);
    await this.write('written since');
    return app;
  }

  /** the first node */
  get node(): BaoNode {
    return this.cluster.first;
  }

  async write(value: string): Promise<void> {
    await this.cluster.call('POST', 'kv/canary', { value });
  }

  /** What the active node has. */
  async canary(): Promise<unknown> {
    return valueAt(await this.cluster.waitActive(), this.cluster.rootToken, 'kv/canary');
  }

  /** Snapshots that any node has begun to apply; a node that is no leader any more begins, too, and then seals itself. */
  async installs(): Promise<number> {
    const counts = await Promise.all(this.cluster.nodes.map(installsOn));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  /** The notes by which the next run goes on: one, or none. */
  async notes(): Promise<string[]> {
    return (await filesIn(this.world.spool)).filter((path) => path.endsWith('/restore.json'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** The CLI without a safety snapshot, confirmed, with --json. */
export function restoreArgs(configFile: string, ...more: string[]): string[] {
  const flags = ['restore', '--json', '--confirm', 'prod', '--without-safety-snapshot', '--config', configFile];
  return [...flags, ...more];
}

export async function restoreByCli(configFile: string, ...more: string[]): Promise<CliResult> {
  return await runCli(restoreArgs(configFile, ...more), { env: NO_S3 });
}

/** What a restore that must fail rejected with; throws when it succeeds, or fails without a code. */
export async function failureOfRestore(restored: Promise<unknown>): Promise<StrongroomError> {
  try {
    await restored;
  } catch (e) {
    if (isError(e)) return e;
    throw e;
  }
  throw new Error('the restore succeeded');
}

/** `app`, with `act` run once as soon as `stage` is reported. `done` settles as `act` does. */
export function breakInAt(
  app: AppOptions,
  stage: string,
  act: () => Promise<unknown>,
): { app: AppOptions; done: Promise<void> } {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // Awaited by the test when the restore is over; it may fail long before.
  promise.catch(() => undefined);
  let isDone = false;
  const onProgress: AppOptions['onProgress'] = (event) => {
    app.onProgress?.(event);
    if (isDone || event.stage !== stage) return;
    isDone = true;
    act().then(() => resolve(), reject);
  };
  return { app: { ...app, onProgress }, done: promise };
}
