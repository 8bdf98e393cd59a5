/** The buckets of a config: several destinations may share one, and a bucket has one policy and one lifecycle. */
import type { Config } from '../config/load.ts';
import type { DestinationConfig } from '../config/schema.ts';
import { type ClusterName, parseClusterName } from '../core/ids.ts';

export type S3Destination = Extract<DestinationConfig, { type: 's3' }>;

export type BucketUse = {
  /** the destination's name */
  name: string;
  options: S3Destination;
  /** names of the clusters that write there */
  clusters: ClusterName[];
};

export type Bucket = {
  bucket: string;
  region: string;
  endpoint: string | null;
  /** in the order of the config, at least one */
  uses: BucketUse[];
};

/** Every bucket that the config names, in its order. */
export function bucketsOf(config: Pick<Config, 'destinations' | 'clusters'>): Bucket[] {
  const buckets: Bucket[] = [];
  for (const [name, options] of Object.entries(config.destinations)) {
    if (options.type !== 's3') continue;
    const clusters = Object.entries(config.clusters)
      .filter(([, cluster]) => cluster.destinations.includes(name))
      .map(([cluster]) => parseClusterName(cluster));
    const endpoint = options.endpoint ?? null;
    const known = buckets.find((one) => one.bucket === options.bucket && one.endpoint === endpoint);
    if (known !== undefined) known.uses.push({ name, options, clusters });
    else {
      buckets.push({ bucket: options.bucket, region: options.region, endpoint, uses: [{ name, options, clusters }] });
    }
  }
  return buckets;
}

/** A key of the layout, or a pattern of keys, as it is in the bucket: with the destination's prefix before it. */
export function inBucket({ prefix }: Pick<S3Destination, 'prefix'>, key: string): string {
  return prefix === '' ? key : `${prefix}/${key}`;
}
