/** What every subject runs against: one cluster that stays the same meanwhile, a key service, and the programs. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { BaoCluster } from '../../test/support/bao-cluster.ts';
import type { KmsEmulator } from '../../test/support/kms-emulator.ts';
import { type RunningS3, startVersityGw } from '../../test/support/s3-servers.ts';
import { RESTORE_POLICY, World, type WorldDestination, worldEnv } from '../../test/support/world.ts';
import type { Program } from './build.ts';
import { type Command, nodeCommand } from './measure.ts';

export type Bench = {
  cluster: BaoCluster;
  kms: KmsEmulator;
  wrappingKey: string;
  /** strongroom as it is shipped */
  program: Program;
  /** more for its Node, such as a profiler */
  nodeArgs: readonly string[];
  /** of the scripts: paths */
  tools: { bao: string; age: string; aws: string };
};

/** Two buckets of one gateway, and a configuration that names them. */
export type Place = AsyncDisposable & {
  world: World;
  server: RunningS3;
  buckets: readonly [string, string];
  /** what strongroom needs */
  env: Record<string, string>;
};

export function strongroom(bench: Bench, world: World, command: string, args: readonly string[] = []): Command {
  const config = join(world.directory, 'strongroom.yaml');
  const { program, nodeArgs } = bench;
  return nodeCommand(
    `strongroom ${command}`,
    program.path,
    [command, '--json', '--config', config, ...args],
    [...program.nodeArgs, ...nodeArgs],
  );
}

/** What `bao` and `aws` of a script need. */
export function scriptEnv({ cluster }: Bench, server: RunningS3): Record<string, string> {
  return {
    BAO_ADDR: cluster.first.url,
    BAO_TOKEN: cluster.rootToken,
    // The default of 60 s is too short for a gigabyte on a busy machine.
    BAO_CLIENT_TIMEOUT: '30m',
    AWS_ACCESS_KEY_ID: server.accessKeyId,
    AWS_SECRET_ACCESS_KEY: server.secretAccessKey,
    AWS_DEFAULT_REGION: server.region,
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  };
}

export function copyCommand({ tools }: Bench, server: RunningS3, from: string, to: string): Command {
  const argv = [tools.aws, '--endpoint-url', server.endpoint, 's3', 'cp', '--only-show-errors', from, to];
  return { name: 'aws s3 cp', argv };
}

/** A gateway of its own each time: ending it is the simplest way to have its disk back. */
export async function openBuckets(bench: Bench): Promise<Place> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startVersityGw());
  const buckets = [`a-${randomUUID()}`, `b-${randomUUID()}`] as const;
  for (const bucket of buckets) await server.createBucket(bucket);
  const world = stack.use(
    await openWorld(bench, {
      a: { type: 's3', server, bucket: buckets[0] },
      b: { type: 's3', server, bucket: buckets[1] },
    }),
  );
  const owned = stack.move();
  return { world, server, buckets, env: worldEnv(server), [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Keys, folders, a login that may back up and restore, and a configuration. */
export async function openWorld(bench: Bench, destinations: Record<string, WorldDestination>): Promise<World> {
  const world = await World.create({
    destinations,
    kms: [{ keyArn: bench.wrappingKey, endpoint: bench.kms.url }],
    canOpen: true,
  });
  try {
    await world.grant(bench.cluster, RESTORE_POLICY);
    await world.config(bench.cluster.nodes.map(({ url }) => url));
    return world;
  } catch (e) {
    await world[Symbol.asyncDispose]();
    throw e;
  }
}
