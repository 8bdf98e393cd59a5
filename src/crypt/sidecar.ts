/** keys.json: every wrap of one snapshot's identity. Not signed, because it must change; a wrong identity opens nothing. */
import { z } from 'zod';
import { StrongroomError } from '../core/errors.ts';
import { nameInDocument } from '../core/ids.ts';

const kmsWrap = z.strictObject({
  type: z.literal('aws-kms'),
  region: z.string().min(1),
  keyId: z.string().startsWith('arn:'),
  ciphertext: z.base64().min(1),
});
const ageWrap = z.strictObject({
  type: z.literal('age'),
  recipient: z.string().startsWith('age1'),
  /** an armored age file of the identity, with `# cluster:` and `# snapshot:` lines before it */
  ciphertext: z.string().startsWith('-----BEGIN AGE ENCRYPTED FILE-----'),
});
const missing = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('aws-kms'), keyId: z.string().startsWith('arn:'), code: z.string().min(1) }),
  z.strictObject({ type: z.literal('age'), recipient: z.string().startsWith('age1'), code: z.string().min(1) }),
]);

const sidecar = z.strictObject({
  v: z.literal(1),
  cluster: z.string().min(1),
  snapshot: z.string().min(1),
  /** what the KMS wraps are bound to; repeated here for whoever opens one by hand */
  encryptionContext: z.strictObject({ cluster: z.string(), snapshot: z.string() }),
  wraps: z.array(z.discriminatedUnion('type', [kmsWrap, ageWrap])).min(1),
  /** wanted, and not there: a region was down, say. `code` is the error's */
  missing: z.array(missing),
  /** 1 for the first, one more with each re-wrap */
  revision: z.int().min(1),
  createdAt: z.iso.datetime(),
  rewrappedAt: z.iso.datetime().optional(),
});

export type AgeWrap = z.infer<typeof ageWrap>;
export type Wrap = Sidecar['wraps'][number];
export type MissingWrap = z.infer<typeof missing>;
export type Sidecar = z.infer<typeof sidecar>;

/** Enough for hundreds of post-quantum wraps. */
const MAX_BYTES = 4 * 1024 * 1024;

/**
 * Reads keys.json as that of one snapshot. Throws E_MANIFEST when it is malformed, of a newer version, or names another
 * cluster or snapshot anywhere: it does not belong where it was found.
 */
export function parseSidecar(bytes: Uint8Array, expect: { cluster: string; snapshot: string }): Sidecar {
  const where = `the key sidecar of ${expect.cluster} ${expect.snapshot}`;
  const found = sidecar.safeParse(parseJson(bytes, where));
  if (!found.success) {
    const issue = found.error.issues[0];
    // Not zod's whole message: it may repeat values.
    const at = issue === undefined ? '' : ` at ${issue.path.join('.') || 'its top'} (${issue.code})`;
    throw unusable(`${where} is not one${at}`);
  }
  const { cluster, snapshot, encryptionContext } = found.data;
  for (const named of [{ cluster, snapshot }, encryptionContext]) {
    if (named.cluster !== expect.cluster || named.snapshot !== expect.snapshot) {
      throw unusable(`${where} belongs to ${nameInDocument(named.cluster)} ${nameInDocument(named.snapshot)}`);
    }
  }
  return found.data;
}

/** The bytes to store: JSON for `jq` and for eyes, with a newline at the end. */
export function serialiseSidecar(value: Sidecar): Uint8Array {
  return Buffer.from(`${JSON.stringify(value, null, 2)}\n`);
}

function parseJson(bytes: Uint8Array, where: string): unknown {
  if (bytes.byteLength > MAX_BYTES) throw unusable(`${where} is longer than ${MAX_BYTES} bytes`);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw unusable(`${where} is not JSON`);
  }
}

function unusable(message: string): StrongroomError {
  return new StrongroomError('E_MANIFEST', message, {
    hint: 'read another destination or an older version of keys.json; break-glass identities open the data without it',
  });
}
