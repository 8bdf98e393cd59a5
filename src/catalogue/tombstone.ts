/**
 * What stands in the place of a manifest that must never come: its run lost the lease while it was about to publish.
 * It is signed as a manifest is. Were it not, whoever may write to a bucket could hide a snapshot behind one in silence.
 */
import { z } from 'zod';
import { isError, StrongroomError } from '../core/errors.ts';
import { collect } from '../core/flow.ts';
import type { ClusterName, RunId, SnapshotId } from '../core/ids.ts';
import type { Signer } from '../crypt/sign.ts';
import { objectKey } from '../store/layout.ts';
import type { Store } from '../store/store.ts';

const wrapper = z.object({ strongroom: z.literal('tombstone'), signed: z.string(), signature: z.base64() });
const body = z.object({
  kind: z.literal('tombstone'),
  cluster: z.string(),
  snapshot: z.string(),
  /** the run that put it there, and when, by its clock */
  by: z.string(),
  at: z.iso.datetime(),
  signer: z.object({ keyId: z.string(), alg: z.string() }),
});

/** Every tombstone is smaller, and every manifest larger: the length in a listing tells which may be one. */
export const MAX_TOMBSTONE_BYTES = 1_024;

/** As much of a catalogue as is needed to believe a tombstone. */
type Judge = { cluster: ClusterName; checkSignature(bytes: Uint8Array, signature: Uint8Array): void };

/** The bytes to be stored as the manifest of `snapshot`. Rejects as the signer does. */
export async function makeTombstone(
  { cluster, signer }: { cluster: ClusterName; signer: Signer },
  { snapshot, by, at }: { snapshot: SnapshotId; by: RunId; at: Date },
  signal: AbortSignal,
): Promise<Uint8Array> {
  const { keyId, alg } = signer;
  const said: z.infer<typeof body> = {
    kind: 'tombstone',
    cluster,
    snapshot,
    by,
    at: at.toISOString(),
    signer: { keyId, alg },
  };
  const signed = JSON.stringify(said);
  const signature = Buffer.from(await signer.sign(Buffer.from(signed), signal)).toString('base64');
  const bytes = Buffer.from(`${JSON.stringify({ strongroom: 'tombstone', signed, signature })}\n`);
  if (bytes.byteLength <= MAX_TOMBSTONE_BYTES) return bytes;
  throw new StrongroomError('E_BUG', `a tombstone of ${bytes.byteLength} bytes would be taken for a manifest`);
}

/**
 * Are `bytes` a tombstone of `snapshot`? false = they are something else. Throws E_SIGNATURE for one that no trusted key has
 * signed, and E_MANIFEST for one of another snapshot.
 */
export function isTombstone(judge: Judge, snapshot: SnapshotId, bytes: Uint8Array): boolean {
  if (bytes.byteLength > MAX_TOMBSTONE_BYTES) return false;
  const outer = wrapper.safeParse(jsonOf(Buffer.from(bytes).toString('utf8')));
  if (!outer.success) return false;
  const { signed, signature } = outer.data;
  judge.checkSignature(Buffer.from(signed), Buffer.from(signature, 'base64'));
  const inner = body.safeParse(jsonOf(signed));
  if (inner.success && inner.data.cluster === judge.cluster && inner.data.snapshot === snapshot) return true;
  throw new StrongroomError('E_MANIFEST', `the tombstone stored for ${snapshot} is that of something else`, {
    hint: 'somebody moved it: treat the bucket as tampered with and restore from another destination',
  });
}

/** What stands where the manifest of a snapshot belongs; whatever is no good tombstone is somebody's manifest, good or bad. */
export type Commit = { kind: 'absent' | 'manifest' } | { kind: 'tombstone'; etag: string };

/** Asks one store; two requests at most. Rejects with its error. */
export async function commitIn(judge: Judge, store: Store, snapshot: SnapshotId, signal: AbortSignal): Promise<Commit> {
  const key = objectKey(judge.cluster, 'manifests', snapshot);
  const head = await store.head(key, { signal });
  if (head === null) return { kind: 'absent' };
  if (head.bytes > MAX_TOMBSTONE_BYTES) return { kind: 'manifest' };
  try {
    const bytes = await collect(store.get(key, { signal }), MAX_TOMBSTONE_BYTES);
    return isTombstone(judge, snapshot, bytes) ? { kind: 'tombstone', etag: head.etag } : { kind: 'manifest' };
  } catch (e) {
    if (isError(e, 'E_SIGNATURE') || isError(e, 'E_MANIFEST') || e instanceof RangeError) return { kind: 'manifest' };
    if (isError(e, 'E_NOT_FOUND')) return { kind: 'absent' };
    throw e;
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
