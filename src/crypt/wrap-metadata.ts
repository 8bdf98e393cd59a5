/** The KMS wraps once more, as user metadata of the data object: a lost keys.json is then survivable. */
import type { KmsWrap } from './kms.ts';
import type { Sidecar } from './sidecar.ts';

/** S3 allows 2,048 bytes of names and values together; the rest is for what others put beside. */
const BUDGET = 1_700;
const NAME = /^kms-wrap-(\d+)$/;
const VALUE = /^(arn:\S+) ([A-Za-z0-9+/]+={0,2})$/;

/**
 * `kms-wrap-<n>` = `<key ARN> <base64>` for as many KMS wraps as fit, in their order (about 300 bytes each, so five); those
 * that do not fit are left out. They are no secret: whoever may read the object may read keys.json.
 */
export function wrapsToMetadata(sidecar: Pick<Sidecar, 'wraps'>): Record<string, string> {
  const metadata: Record<string, string> = {};
  let left = BUDGET;
  for (const wrap of sidecar.wraps) {
    if (wrap.type !== 'aws-kms') continue;
    const name = `kms-wrap-${Object.keys(metadata).length + 1}`;
    const value = `${wrap.keyId} ${wrap.ciphertext}`;
    if (name.length + value.length > left) continue;
    left -= name.length + value.length;
    metadata[name] = value;
  }
  return metadata;
}

/** The wraps in an object's user metadata, in their order; other entries, and what is malformed, are passed over. */
export function wrapsFromMetadata(metadata: Readonly<Record<string, string>>): KmsWrap[] {
  return Object.entries(metadata)
    .map(([name, value]) => ({ order: NAME.exec(name.toLowerCase())?.[1], match: VALUE.exec(value) }))
    .filter(({ order, match }) => order !== undefined && match !== null)
    .sort((a, b) => Number(a.order) - Number(b.order))
    .flatMap(({ match }) => {
      const keyId = match?.[1];
      const ciphertext = match?.[2];
      const region = keyId?.split(':')[3];
      if (keyId === undefined || ciphertext === undefined || region === undefined || region === '') return [];
      return [{ type: 'aws-kms', region, keyId, ciphertext } satisfies KmsWrap];
    });
}
