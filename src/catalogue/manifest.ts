/**
 * The record of one snapshot: what, when, from whom, under which keys, where, and what was proven of it.
 * Its exact bytes are signed; there is no canonical form. It is written last: no manifest, no backup.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { StrongroomError } from '../core/errors.ts';
import { type ClusterName, nameInDocument, type SnapshotId } from '../core/ids.ts';

const count = z.number().int().nonnegative();
const sha256Hex = z.string().regex(/^[0-9a-f]{64}$/);
const time = z.iso.datetime();

const archiveSchema = z.object({
  bytes: count,
  members: z.array(z.object({ name: z.string(), bytes: count, sha256: sha256Hex })),
  compression: z.enum(['stored', 'deflate']),
  product: z.enum(['openbao', 'vault', 'unknown']),
  productVersion: z.string().nullable(),
  raft: z.object({
    index: count,
    term: count,
    servers: z.array(
      z.object({ id: z.string(), address: z.string(), suffrage: z.enum(['voter', 'nonvoter', 'staging']) }),
    ),
  }),
  seal: z.object({
    type: z.string(),
    shares: count,
    threshold: count,
    recovery: z.object({ shares: count, threshold: count }).nullable(),
    keyIds: z.array(z.string()),
    sealedSums: z.enum(['present', 'absent', 'unusable']),
  }),
  state: z.object({
    records: count,
    bytes: count,
    areas: z.array(z.object({ area: z.string(), records: count, bytes: count })),
    mounts: z.array(z.object({ area: z.string(), records: count, bytes: count, namespace: z.string().nullable() })),
    leases: z.array(z.object({ mount: z.string(), count })),
    leaseCount: count,
    staticRoles: count,
    walEntries: count,
    policies: count,
    tokens: count,
    namespaces: count,
    auditDevices: count,
    terms: z.array(z.object({ term: count, records: count })),
  }),
  cautions: z.array(z.string()),
});

const storedCopySchema = z.object({
  name: z.string(),
  location: z.string(),
  status: z.literal('stored'),
  etag: z.string(),
  versionId: z.string().optional(),
  /** how the copy was proven after the upload */
  proof: z.enum(['checksum', 'read']),
  lock: z.object({ mode: z.enum(['governance', 'compliance']), until: time }).optional(),
});

const missingCopySchema = z.object({
  name: z.string(),
  location: z.string(),
  status: z.literal('missing'),
  code: z.string(),
  message: z.string(),
});

export const manifestSchema = z.object({
  schema: z.literal('1'),
  cluster: z.string(),
  snapshot: z.string(),
  run: z.string(),
  /**
   * `safety` = what a target held right before a restore overwrote it. It is one to go back to by its id, and never the
   * newest backup of the cluster.
   */
  purpose: z.enum(['backup', 'safety']).default('backup'),
  createdAt: time,
  finishedAt: time,
  tool: z.object({ name: z.literal('strongroom'), version: z.string() }),
  source: z.object({
    /** the node that served the snapshot, as configured */
    node: z.string(),
    clusterId: z.string().nullable(),
    product: z.enum(['openbao', 'vault', 'unknown']),
    productVersion: z.string().nullable(),
  }),
  archive: archiveSchema,
  ciphertext: z.object({
    format: z.literal('age-v1'),
    bytes: count,
    headerSha256: sha256Hex,
    /** bytes of every part but the last */
    partSize: count,
    parts: count,
    /** base64 SHA-256 of each part, in order */
    partSha256: z.array(z.string()),
    /** `<base64>-<parts>`: what an S3 store answers to a HEAD */
    sha256Composite: z.string(),
  }),
  keys: z.object({
    /** public half of the identity that the wraps hold: a wrap of another identity is refused */
    recipient: z.string(),
    object: z.string(),
    /** break-glass recipients in the header of the data object */
    recipients: z.array(z.string()),
    /** ARNs that wrap the identity when this was written; the sidecar knows better after a rewrap */
    kms: z.array(z.string()),
  }),
  destinations: z.array(z.discriminatedUnion('status', [storedCopySchema, missingCopySchema])),
  /** the newest good manifest when this run began: a gap in the chain shows what was taken away */
  previous: z.object({ snapshot: z.string(), manifestSha256: sha256Hex, index: count }).nullable(),
  warnings: z.array(z.string()),
  signer: z.object({ keyId: z.string(), alg: z.literal('ECDSA_P256_SHA256') }),
});

export type Manifest = z.infer<typeof manifestSchema>;
export type CopyRecord = Manifest['destinations'][number];

/** A manifest larger than this is none of ours: 10,000 parts and 10,000 mounts stay below. */
export const MAX_MANIFEST_BYTES = 16 * 2 ** 20;

/** The bytes to be signed and stored. */
export function serialiseManifest(manifest: Manifest): Uint8Array {
  return Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`, 'utf8');
}

/**
 * The manifest in `bytes`, whose signature was checked before. Rejects with E_MANIFEST one that does not belong to
 * `cluster` and `snapshot`: a signed manifest under another key is an old one put in the place of a new one.
 */
export function parseManifest(bytes: Uint8Array, cluster: ClusterName, snapshot: SnapshotId): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (e) {
    throw new StrongroomError('E_MANIFEST', `the manifest of ${snapshot} is not JSON`, { cause: e });
  }
  const parsed = manifestSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new StrongroomError(
      'E_MANIFEST',
      `the manifest of ${snapshot} is not of schema 1: ${issue?.path.join('.')} ${issue?.message}`,
      { hint: 'it was written by another version of strongroom, or by something else' },
    );
  }
  if (parsed.data.cluster !== cluster || parsed.data.snapshot !== snapshot) {
    throw new StrongroomError(
      'E_MANIFEST',
      `the manifest stored as ${cluster}/${snapshot} is that of ${nameInDocument(parsed.data.cluster)}/${nameInDocument(parsed.data.snapshot)}`,
      {
        hint: 'somebody moved it: treat the bucket as tampered with and restore from another destination',
        details: { isElsewhere: true },
      },
    );
  }
  return parsed.data;
}

/** SHA-256 in hex of a manifest's exact bytes: the link of the chain. */
export function manifestSha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
