/** The three ways to a stored snapshot. What they store is removed again, so that the disk is as before. */
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { World } from '../../test/support/world.ts';
import { worldEnv } from '../../test/support/world.ts';
import { type Bench, copyCommand, openBuckets, openWorld, type Place, scriptEnv, strongroom } from './bench.ts';
import { type Measured, measure, nodeCommand } from './measure.ts';
import type { Result } from './subjects.ts';

const DOWNLOAD = fileURLToPath(new URL('./child-download.mjs', import.meta.url));

export const BACKUPS = { download, script, buckets, directories };

async function download({ cluster }: Bench): Promise<Result> {
  const env = { BENCH_NODE: cluster.first.url, BENCH_TOKEN: cluster.rootToken };
  const measured = await measure([nodeCommand('download', DOWNLOAD)], env);
  const { bytes, ms } = JSON.parse(measured.stdout) as { bytes: number; ms: number };
  return { ...figures(measured), archiveBytes: bytes, heldMs: ms, servingMs: null, timings: null };
}

async function script(bench: Bench): Promise<Result> {
  await using place = await openBuckets(bench);
  const { measured, archive } = await runScript(bench, place);
  const [save] = measured.commands;
  const { size } = await stat(archive);
  return {
    ...figures(measured),
    archiveBytes: size,
    heldMs: save?.wallMs ?? Number.NaN,
    servingMs: null,
    timings: null,
  };
}

/** What a careful user would write into a cron job: nothing of it is verified, by anybody. */
export async function runScript(bench: Bench, place: Place): Promise<{ measured: Measured; archive: string }> {
  const { tools } = bench;
  const { world, server, buckets: names } = place;
  const archive = join(world.directory, 'script.snap');
  const encrypted = `${archive}.age`;
  const commands = [
    { name: 'bao save', argv: [tools.bao, 'operator', 'raft', 'snapshot', 'save', archive] },
    { name: 'age', argv: [tools.age, '-r', world.recipient, '-o', encrypted, archive] },
    ...names.map((bucket) => copyCommand(bench, server, encrypted, `s3://${bucket}/script.snap.age`)),
  ];
  const measured = await measure(commands, scriptEnv(bench, server));
  await rm(encrypted);
  return { measured, archive };
}

async function buckets(bench: Bench): Promise<Result> {
  await using place = await openBuckets(bench);
  return await backUp(bench, place.world, place.env);
}

async function directories(bench: Bench): Promise<Result> {
  await using world = await openWorld(bench, {
    a: { type: 'directory', path: 'a' },
    b: { type: 'directory', path: 'b' },
  });
  for (const name of ['a', 'b']) await mkdir(join(world.directory, name));
  return await backUp(bench, world, worldEnv({ accessKeyId: '', secretAccessKey: '' }));
}

/** One `strongroom backup`; throws unless every copy was stored. */
export async function backUp(
  bench: Bench,
  world: World,
  env: Record<string, string>,
): Promise<Result & { snapshot: string }> {
  const measured = await measure([strongroom(bench, world, 'backup')], env);
  const { timings, complete, manifest } = JSON.parse(measured.stdout) as {
    timings: Record<string, number>;
    complete: boolean;
    manifest: { snapshot: string; archive: { bytes: number } };
  };
  if (!complete) throw new Error('the backup was not complete');
  return {
    ...figures(measured),
    archiveBytes: manifest.archive.bytes,
    heldMs: timings['snapshot'] ?? Number.NaN,
    servingMs: null,
    timings,
    snapshot: manifest.snapshot,
  };
}

/** Without what the commands said. */
export function figures(measured: Measured): Omit<Measured, 'stdout'> {
  const { stdout: _, ...rest } = measured;
  return rest;
}
