/** The recovery page with the names of a config filled in: for the safe, and for the README of each destination. */
import type { ClusterConfig } from './config/cluster-config.ts';
import type { DestinationConfig } from './config/schema.ts';
import { systemClock } from './core/units.ts';
import { recoveryPage } from './crypt/recovery-page.ts';
import { LAYOUT_VERSION } from './store/layout.ts';

type PublicKeys = {
  /** recipients in the header of the data */
  breakGlass: readonly string[];
  /** PEM; any of them may have signed */
  signing: readonly string[];
};

/** Markdown for one cluster and one of its destinations. Throws E_CONFIG_INVALID for a value with control characters. */
export function recoveryPageOf(cluster: ClusterConfig, destination: DestinationConfig, keys: PublicKeys): string {
  return recoveryPage({
    cluster: cluster.name,
    location: locationOf(destination),
    breakGlass: keys.breakGlass,
    kms: cluster.encryption.kms.map(({ keyId, region, endpoint }) => ({
      keyId,
      region,
      ...(endpoint === undefined ? {} : { endpoint }),
    })),
    signingPublicKeys: keys.signing,
    now: systemClock.now(),
  });
}

/** The same before there is a config: CLUSTER, BUCKET and REGION are to be replaced by hand. */
export function blankRecoveryPage(keys: PublicKeys): string {
  return recoveryPage({
    cluster: 'CLUSTER',
    location: { type: 's3', bucket: 'BUCKET', region: 'REGION', root: LAYOUT_VERSION },
    breakGlass: keys.breakGlass,
    kms: [],
    signingPublicKeys: keys.signing,
    now: systemClock.now(),
  });
}

function locationOf(options: DestinationConfig): Parameters<typeof recoveryPage>[0]['location'] {
  if (options.type === 'directory') return { type: 'directory', root: `${options.path}/${LAYOUT_VERSION}` };
  return {
    type: 's3',
    bucket: options.bucket,
    region: options.region,
    root: options.prefix === '' ? LAYOUT_VERSION : `${options.prefix}/${LAYOUT_VERSION}`,
    ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
  };
}
