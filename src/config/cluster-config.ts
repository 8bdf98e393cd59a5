/** One cluster's config, with everything that concerns it. */
import { StrongroomError } from '../core/errors.ts';
import { type ClusterName, parseClusterName } from '../core/ids.ts';
import type { Config } from './load.ts';
import type { DestinationConfig, EncryptionConfig, ParsedClusterConfig } from './schema.ts';
import type { TextRef } from './secret.ts';
import { nearest } from './suggest.ts';

export type ClusterConfig = Omit<ParsedClusterConfig, 'destinations' | 'encryption'> & {
  name: ClusterName;
  /** in the order of the config; reads try them in this order */
  destinations: { name: string; options: DestinationConfig }[];
  /** the top-level block with the cluster's own options put over it */
  encryption: EncryptionConfig;
};

/** Throws E_CONFIG_INVALID, with the nearest name as hint, when there is no cluster `name`. */
export function clusterConfig(config: Config, name: string): ClusterConfig {
  const own = Object.hasOwn(config.clusters, name) ? config.clusters[name] : undefined;
  if (own === undefined) {
    const known = Object.keys(config.clusters);
    const meant = nearest(name, known);
    throw new StrongroomError('E_CONFIG_INVALID', `no cluster "${name}" in ${config.file}`, {
      hint: meant === null ? `known clusters: ${known.join(', ')}` : `did you mean ${meant}?`,
    });
  }
  return {
    ...own,
    name: parseClusterName(name),
    destinations: own.destinations.map((destination) => {
      const options = config.destinations[destination];
      if (options === undefined) throw new StrongroomError('E_BUG', `destination "${destination}" passed the check`);
      return { name: destination, options };
    }),
    encryption: { ...config.encryption, ...own.encryption },
  };
}

/** The cluster `name`, or without a name the only one there is. Throws E_USAGE when there are several. */
export function chooseCluster(config: Config, name: string | undefined): ClusterConfig {
  if (name !== undefined) return clusterConfig(config, name);
  const names = Object.keys(config.clusters);
  const [only] = names;
  if (only === undefined || names.length > 1) {
    throw new StrongroomError('E_USAGE', `${config.file} has ${names.length} clusters; which one?`, {
      hint: `--cluster ${names.join(' | ')}`,
    });
  }
  return clusterConfig(config, only);
}

/**
 * The age recipients behind `refs`, in order and unchecked (see commonKind of crypt). A file holds one a line; blank
 * lines and lines with # are skipped, as `age -R` does.
 */
export async function readRecipients(refs: readonly TextRef[], signal: AbortSignal): Promise<string[]> {
  const recipients: string[] = [];
  for (const ref of refs) {
    const lines = (await ref.resolve(signal)).split('\n').map((line) => line.trim());
    recipients.push(...lines.filter((line) => line !== '' && !line.startsWith('#')));
  }
  return recipients;
}
