/** Configs for the tests of policies: one plain, one with everything that changes a document. */
import { type ClusterConfig, clusterConfig } from '../../../src/config/cluster-config.ts';
import { type Config, parseConfig } from '../../../src/config/load.ts';

export const ACCOUNT = '111122223333';
const id = (digit: string) => `${digit.repeat(8)}-12ab-34cd-56ef-1234567890ab`;

export const KEYS = {
  frankfurt: `arn:aws:kms:eu-central-1:${ACCOUNT}:key/${id('1')}`,
  dublin: `arn:aws:kms:eu-west-1:${ACCOUNT}:key/${id('2')}`,
  signing: `arn:aws:kms:eu-central-1:${ACCOUNT}:key/${id('3')}`,
  seal: `arn:aws:kms:eu-central-1:${ACCOUNT}:key/${id('4')}`,
  bucket: `arn:aws:kms:eu-west-1:${ACCOUNT}:key/${id('5')}`,
} as const;

const HEAD = `version: 1
signing: { key: file:signing.pem }
`;
const encryption = (...keys: string[]): string =>
  `encryption: { kms: [${keys.map((key) => `{ keyId: "${key}" }`).join(', ')}], minBreakGlass: 0, declineBreakGlass: there is none in this test }\n`;
const cluster = (name: string, destinations: string, more = ''): string =>
  `  ${name}: { nodes: [https://bao:8200], auth: { method: approle, roleId: file:r, secretId: file:s }, destinations: [${destinations}]${more} }\n`;

/** One cluster, one bucket, one key. */
export const PLAIN = `${HEAD}destinations:
  primary: { type: s3, bucket: backups-a, region: eu-central-1 }
${encryption(KEYS.frankfurt)}clusters:
${cluster('prod', 'primary')}`;

/** Two clusters; locks, tags, a prefix, SSE-KMS, a directory, a KMS that signs, and the key of a seal. */
export const RICH = `version: 1
signing: { kms: { keyId: "${KEYS.signing}" } }
destinations:
  primary: { type: s3, bucket: backups-a, region: eu-central-1, prefix: teams/vault, tags: { team: vault }, objectLock: { mode: governance, keep: 30d } }
  second: { type: s3, bucket: backups-b, region: eu-west-1, sse: { type: "aws:kms", keyId: "${KEYS.bucket}" } }
  folder: { type: directory, path: airgap }
${encryption(KEYS.frankfurt, KEYS.dublin)}clusters:
${cluster('prod', 'primary, second, folder', `, sealKms: { keyId: "${KEYS.seal}" }`)}${cluster('test', 'primary')}`;

export function configOf(text: string): Config {
  return parseConfig(text, 'strongroom.yaml', { env: { HOME: '/home/sr' } });
}

/** `text` with `from`, which must be in it, replaced. */
export function changed(text: string, from: string, to: string): Config {
  if (!text.includes(from)) throw new Error(`the config has no ${from}`);
  return configOf(text.replace(from, to));
}

export function clusterOf(config: Config, name = 'prod'): ClusterConfig {
  return clusterConfig(config, name);
}
