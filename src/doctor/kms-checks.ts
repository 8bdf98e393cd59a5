/** Each key, used as a backup uses it: by day, and for nothing. */
import type { KMSClient } from '@aws-sdk/client-kms';
import { openKmsClient } from '../aws-clients.ts';
import type { ClusterConfig } from '../config/cluster-config.ts';
import type { KmsKeyConfig } from '../config/schema.ts';
import { isError } from '../core/errors.ts';
import type { ClusterName } from '../core/ids.ts';
import { Secret } from '../core/secret.ts';
import { KmsKey } from '../crypt/kms.ts';
import { isSameKey } from '../crypt/kms-arn.ts';
import { newIdentity } from '../crypt/recipients.ts';
import { type Signer, verifySignature } from '../crypt/sign.ts';
import { type Outcome, ok, problem, unknown, warning } from './finding.ts';
import { attempt, type Check } from './run-checks.ts';

/** The SDK may need all of its tries for each of three calls. */
const LIMIT_MS = 40_000;

export function kmsChecks(clusters: readonly ClusterConfig[]): Check[] {
  return clusters.flatMap((cluster): Check[] => [
    ...cluster.encryption.kms.map(
      (key): Check => ({
        area: 'kms',
        what: `key ${key.keyId}`,
        limitMs: LIMIT_MS,
        run: (signal) => withKey(key, signal, (opened) => tryWrapping(opened, cluster.name, signal)),
      }),
    ),
    ...(cluster.sealKms === undefined ? [] : [sealCheck(cluster.name, cluster.sealKms)]),
    {
      area: 'kms',
      what: `keys of ${cluster.name}`,
      run: () => Promise.resolve(distinct(cluster.name, cluster.encryption.kms)),
    },
  ]);
}

async function tryWrapping(key: KmsKey, cluster: ClusterName, signal: AbortSignal): Promise<Outcome[]> {
  const what = `key ${key.keyId}`;
  const context = { cluster, snapshot: 'doctor-probe' };
  const state = await attempt(`${what}, state`, signal, async () => {
    const { state: found, cautions } = await key.check(signal);
    if (found === 'unchecked') {
      return unknown(`${what}, state`, 'this login may not call kms:DescribeKey', 'strongroom policy kms');
    }
    const [caution] = cautions;
    if (caution === undefined) return ok(`${what}, state`, `enabled, in ${key.region}`);
    return warning(`${what}, state`, caution, 'import the material again, or rewrap to another key before');
  });
  const wrap = await attempt(`${what}, wrap`, signal, async () => {
    const { identity } = await newIdentity('classic');
    const wrapped = await key.wrap(identity, context, signal);
    try {
      const opened = await key.unwrap(wrapped, context, signal);
      if (opened.reveal() !== identity.reveal()) {
        return problem(
          `${what}, wrap`,
          'what it opens is not what it closed',
          'look at the endpoint of this key: who answers there?',
        );
      }
      return ok(`${what}, wrap`, `wrapped an identity for ${cluster}, and opened it again`);
    } catch (e) {
      if (!isError(e, 'E_KEY_REFUSED') || !String(e.details['awsError']).startsWith('AccessDenied')) throw e;
      return ok(
        `${what}, wrap`,
        `wrapped an identity for ${cluster}; this login may not open it, as is best for backups`,
      );
    }
  });
  return [...state, ...wrap];
}

function sealCheck(cluster: ClusterName, key: KmsKeyConfig): Check {
  const what = `seal key ${key.keyId}`;
  return {
    area: 'kms',
    what,
    limitMs: LIMIT_MS,
    run: (signal) =>
      withKey(key, signal, async (opened) => {
        await opened.check(signal);
        await opened.wrap(new Secret('probe'), { cluster, snapshot: 'seal-probe' }, signal);
        return [ok(what, `encrypts: ${cluster} can use its seal, and give whole snapshots`)];
      }),
  };
}

/** Keys that are one key under two names save nothing on the day that it is deleted. */
export function distinct(cluster: string, keys: readonly { keyId: string; region: string }[]): Outcome[] {
  const what = `keys of ${cluster}`;
  if (keys.length === 0) return [unknown(what, 'there is no KMS key: break-glass identities alone open its backups')];
  const outcomes = keys.flatMap(({ keyId, region }, index) =>
    keys.slice(index + 1).flatMap((other): Outcome[] => {
      if (!isSameKey(keyId, other.keyId)) return [];
      const fix = `name a key of its own in ${other.region}: clusters.${cluster}.encryption.kms`;
      return region === other.region
        ? [problem(what, `${keyId} is there twice`, fix)]
        : [
            warning(
              what,
              `${keyId} and ${other.keyId} are replicas of one key: its material is lost in all regions at once`,
              fix,
            ),
          ];
    }),
  );
  return outcomes.length > 0 ? outcomes : [ok(what, `${keys.length}, each a key of its own`)];
}

/** The signature of this machine, as whoever restores will look at it. `trusted` empty = the signer's own key counts. */
export async function trySigning(
  signer: Signer | null,
  trusted: readonly string[],
  signal: AbortSignal,
): Promise<Outcome> {
  const what = 'signing key';
  if (signer === null) {
    return warning(
      what,
      'none: with this config no backup can be made',
      'set signing.key or signing.kms; strongroom keys generate',
    );
  }
  const bytes = Buffer.from('strongroom doctor');
  const signature = await signer.sign(bytes, signal);
  const own = await signer.publicKeyPem(signal).catch((e: unknown) => {
    // With `trusted` nobody asks a KMS key for its public half, and the login may lack the right.
    if (trusted.length > 0) return null;
    throw e;
  });
  // By itself first: a signer that does not fit its own key is broken, whoever is trusted.
  if (own !== null) verifySignature(bytes, signature, [own]);
  if (trusted.length === 0) return ok(what, `${signer.keyId} signs, and its signature holds`);
  try {
    verifySignature(bytes, signature, trusted);
    return ok(what, `${signer.keyId} signs, and is one of the ${trusted.length} trusted keys`);
  } catch (e) {
    if (!isError(e, 'E_SIGNATURE')) throw e;
    return problem(
      what,
      `${signer.keyId} is none of the ${trusted.length} trusted keys: no backup that it signs would be believed`,
      'add its public key to signing.trusted: openssl pkey -in <signing key> -pubout, or aws kms get-public-key',
    );
  }
}

async function withKey<T>(key: KmsKeyConfig, signal: AbortSignal, use: (opened: KmsKey) => Promise<T>): Promise<T> {
  const client: KMSClient = await openKmsClient(key, signal);
  try {
    return await use(new KmsKey({ client, keyId: key.keyId, region: key.region }));
  } finally {
    client.destroy();
  }
}

/** The keys of a cluster opened together, for questions about all of them. The clients are gone afterwards. */
export async function withKeys<T>(
  keys: readonly KmsKeyConfig[],
  signal: AbortSignal,
  use: (opened: readonly KmsKey[]) => Promise<T>,
): Promise<T> {
  const clients: KMSClient[] = [];
  try {
    const opened: KmsKey[] = [];
    for (const key of keys) {
      const client = await openKmsClient(key, signal);
      clients.push(client);
      opened.push(new KmsKey({ client, keyId: key.keyId, region: key.region }));
    }
    return await use(opened);
  } finally {
    for (const client of clients) client.destroy();
  }
}
