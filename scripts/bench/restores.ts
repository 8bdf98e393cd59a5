/** The three ways back: each overwrites the state of the cluster with the same one of before. */
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { backUp, figures, runScript } from './backups.ts';
import { type Bench, copyCommand, openBuckets, type Place, scriptEnv, strongroom } from './bench.ts';
import { type Command, type Measured, measure, nodeCommand } from './measure.ts';
import { mark, serving } from './serving.ts';
import type { Result } from './subjects.ts';

const POST = fileURLToPath(new URL('./child-post.mjs', import.meta.url));

/** One state, stored as each of the three ways wants it. */
export type Stock = AsyncDisposable & {
  place: Place;
  /** the plain archive */
  archive: string;
  archiveBytes: number;
  /** strongroom's id of it */
  snapshot: string;
};

/** Stores the state as it is now, with a marker in it. The owner disposes of it. */
export async function takeStock(bench: Bench): Promise<Stock> {
  await using stack = new AsyncDisposableStack();
  const place = stack.use(await openBuckets(bench));
  await mark(bench.cluster, 'in the snapshot');
  const { archive } = await runScript(bench, place);
  const { snapshot } = await backUp({ ...bench, nodeArgs: [] }, place.world, place.env);
  const { size } = await stat(archive);
  const owned = stack.move();
  return { place, archive, archiveBytes: size, snapshot, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

export const RESTORES = { post, 'restore-script': byScript, restore, 'restore-guarded': restoreGuarded };

async function post(bench: Bench, stock: Stock): Promise<Result> {
  const { cluster } = bench;
  const env = { BENCH_NODE: cluster.first.url, BENCH_TOKEN: cluster.rootToken, BENCH_ARCHIVE: stock.archive };
  return await toServing(bench, stock, [nodeCommand('POST', POST)], env);
}

async function byScript(bench: Bench, stock: Stock): Promise<Result> {
  const { world, server, buckets } = stock.place;
  const { bao, age } = bench.tools;
  const encrypted = join(world.directory, 'back.snap.age');
  const plain = join(world.directory, 'back.snap');
  const identity = join(world.directory, 'breakglass.txt');
  const commands = [
    copyCommand(bench, server, `s3://${buckets[0]}/script.snap.age`, encrypted),
    { name: 'age -d', argv: [age, '-d', '-i', identity, '-o', plain, encrypted] },
    { name: 'bao restore', argv: [bao, 'operator', 'raft', 'snapshot', 'restore', '-force', plain] },
  ];
  const result = await toServing(bench, stock, commands, scriptEnv(bench, server));
  await Promise.all([rm(encrypted), rm(plain)]);
  return result;
}

/** As the others, which keep nothing of what they overwrite either. */
async function restore(bench: Bench, stock: Stock): Promise<Result> {
  return await byStrongroom(bench, stock, ['--without-safety-snapshot']);
}

async function restoreGuarded(bench: Bench, stock: Stock): Promise<Result> {
  return await byStrongroom(bench, stock, []);
}

/** Throws unless it ends with the proof. */
async function byStrongroom(bench: Bench, stock: Stock, more: readonly string[]): Promise<Result> {
  const { world, env } = stock.place;
  const args = ['--snapshot', stock.snapshot, '--confirm', world.name, '--force', ...more];
  return await toServing(bench, stock, [strongroom(bench, world, 'restore', args)], env, timingsOf);
}

function timingsOf({ stdout }: Measured): Record<string, number> {
  const { timings, proof } = JSON.parse(stdout) as {
    timings: Record<string, number>;
    proof: { identical: number; unexpectedCount: number };
  };
  if (proof.unexpectedCount !== 0 || proof.identical === 0) throw new Error('the restore proved nothing');
  return timings;
}

async function toServing(
  bench: Bench,
  stock: Stock,
  commands: readonly Command[],
  env: Record<string, string>,
  timings: (measured: Measured) => Record<string, number> | null = () => null,
): Promise<Result> {
  const { cluster } = bench;
  await mark(cluster, 'written later');
  const begin = performance.now();
  const failure = new AbortController();
  const [measured, servingMs] = await Promise.all([
    measure(commands, env).catch((e: unknown) => {
      failure.abort();
      throw e;
    }),
    serving(cluster.first, cluster.rootToken, begin, failure.signal),
  ]);
  return {
    ...figures(measured),
    archiveBytes: stock.archiveBytes,
    heldMs: null,
    servingMs,
    timings: timings(measured),
  };
}
