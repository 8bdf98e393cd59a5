/** Every destination of every cluster, with a client of its own that gives up early. */
import { openS3Client, s3StoreOptions } from '../aws-clients.ts';
import type { ClusterConfig } from '../config/cluster-config.ts';
import { FileStore } from '../store/file.ts';
import { S3Store } from '../store/s3.ts';
import { S3Inspector } from '../store/s3-inspect.ts';
import { tryBucket } from './bucket-checks.ts';
import { tryDirectory } from './directory-checks.ts';
import type { Outcome } from './finding.ts';
import type { Check } from './run-checks.ts';

/** About twenty requests, each with its own limit: a store that is merely slow is told what it is slow at. */
const LIMIT_MS = 120_000;
/** Two tries of 6 s: a silent store is known as such before the first step's time is over. */
const HURRY = { retry: { attempts: 2, baseMs: 200, maxMs: 500 }, requestTimeoutMs: 6_000, cleanupTimeoutMs: 6_000 };

export type DestinationContext = {
  spool: string;
  now: Date;
  /** null = not known */
  newestBytes: (cluster: ClusterConfig, signal: AbortSignal) => Promise<number | null>;
};

export function destinationChecks(clusters: readonly ClusterConfig[], context: DestinationContext): Check[] {
  return clusters.flatMap((cluster) =>
    cluster.destinations.map(
      (destination): Check => ({
        area: 'destinations',
        what: destination.name,
        limitMs: LIMIT_MS,
        run: async (signal) => {
          const outcomes = await tryDestination(cluster, destination, context, signal);
          // Each cluster has a part of its own in it, and may have rights of its own.
          return clusters.length === 1
            ? outcomes
            : outcomes.map((one) => ({ ...one, what: `${one.what} for ${cluster.name}` }));
        },
      }),
    ),
  );
}

async function tryDestination(
  cluster: ClusterConfig,
  { name, options }: ClusterConfig['destinations'][number],
  context: DestinationContext,
  signal: AbortSignal,
): Promise<Outcome[]> {
  if (options.type === 'directory') {
    await using store = new FileStore({ name, directory: options.path });
    const newestBytes = await context.newestBytes(cluster, signal);
    const subject = { name, path: options.path, cluster: cluster.name, store, spool: context.spool, newestBytes };
    return await tryDirectory(subject, signal);
  }
  const client = await openS3Client(options, signal);
  try {
    const storeOptions = { ...s3StoreOptions(name, options, client), ...HURRY };
    await using store = new S3Store(storeOptions);
    return await tryBucket(
      {
        name,
        options,
        cluster: cluster.name,
        store,
        inspector: new S3Inspector(storeOptions),
        prunes: cluster.schedule?.prune !== undefined,
        now: context.now,
      },
      signal,
    );
  } finally {
    client.destroy();
  }
}
