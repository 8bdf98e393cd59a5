/** What is measured, each as a process of its own, on a cluster that stays the same meanwhile. */
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BaoCluster } from '../../test/support/bao-cluster.ts';
import type { KmsEmulator } from '../../test/support/kms-emulator.ts';
import { type RunningS3, startVersityGw } from '../../test/support/s3-servers.ts';
import { World, type WorldDestination, worldEnv } from '../../test/support/world.ts';
import type { Program } from './build.ts';
import { type MeasureOptions, measure } from './measure.ts';
import type { Run, Subject } from './report.ts';

const DOWNLOAD = fileURLToPath(new URL('./child-download.mjs', import.meta.url));

export type Bench = {
  cluster: BaoCluster;
  kms: KmsEmulator;
  wrappingKey: string;
  program: Program;
  /** more for Node, before the program */
  nodeArgs: readonly string[];
};

type Result = Omit<Run, 'state' | 'subject' | 'round'>;

/** One run of `subject`. What it stores is removed again, so that the disk is as before. */
export async function run(bench: Bench, subject: Subject): Promise<Result> {
  switch (subject) {
    case 'download':
      return await download(bench);
    case 'directories':
      return await toDirectories(bench);
    case 'buckets':
      return await toBuckets(bench);
  }
}

async function download({ cluster }: Bench): Promise<Result> {
  const env = { BENCH_NODE: cluster.first.url, BENCH_TOKEN: cluster.rootToken };
  const { stdout, ...used } = await measure(DOWNLOAD, [], { env });
  const { bytes, ms } = JSON.parse(stdout) as { bytes: number; ms: number };
  return { ...used, archiveBytes: bytes, holdMs: ms, timings: null };
}

async function toDirectories(bench: Bench): Promise<Result> {
  await using world = await open(bench, {
    a: { type: 'directory', path: 'a' },
    b: { type: 'directory', path: 'b' },
  });
  for (const name of ['a', 'b']) await mkdir(join(world.directory, name));
  return await backup(bench, world, worldEnv({ accessKeyId: '', secretAccessKey: '' }));
}

/** Each time with a gateway of its own: it is the simplest way to have its disk back. */
async function toBuckets(bench: Bench): Promise<Result> {
  await using server: RunningS3 = await startVersityGw();
  const buckets = { a: `a-${randomUUID()}`, b: `b-${randomUUID()}` };
  for (const bucket of Object.values(buckets)) await server.createBucket(bucket);
  await using world = await open(bench, {
    a: { type: 's3', server, bucket: buckets.a },
    b: { type: 's3', server, bucket: buckets.b },
  });
  return await backup(bench, world, worldEnv(server));
}

async function open(bench: Bench, destinations: Record<string, WorldDestination>): Promise<World> {
  const world = await World.create({
    destinations,
    kms: [{ keyArn: bench.wrappingKey, endpoint: bench.kms.url }],
  });
  try {
    await world.grant(bench.cluster);
    await world.config(bench.cluster.nodes.map(({ url }) => url));
    return world;
  } catch (e) {
    await world[Symbol.asyncDispose]();
    throw e;
  }
}

async function backup(bench: Bench, world: World, env: Record<string, string>): Promise<Result> {
  const options: MeasureOptions = { env, nodeArgs: [...bench.program.nodeArgs, ...bench.nodeArgs] };
  const args = ['backup', '--json', '--config', join(world.directory, 'strongroom.yaml')];
  const { stdout, ...used } = await measure(bench.program.path, args, options);
  const { timings, complete, manifest } = JSON.parse(stdout) as {
    timings: Record<string, number>;
    complete: boolean;
    manifest: { archive: { bytes: number } };
  };
  if (!complete) throw new Error('the backup was not complete');
  return { ...used, archiveBytes: manifest.archive.bytes, holdMs: timings['snapshot'] ?? Number.NaN, timings };
}
