/** The manifest for destinations that hold a whole copy and never got it: a run ended between its first and last manifest. */
import { expectedParts } from '../catalogue/copy.ts';
import type { Manifest } from '../catalogue/manifest.ts';
import { type Commit, commitIn } from '../catalogue/tombstone.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import { collect } from '../core/flow.ts';
import type { SnapshotId } from '../core/ids.ts';
import { type ObjectKey, objectKey } from '../store/layout.ts';
import { proveCopy } from '../store/prove-copy.ts';
import type { Store } from '../store/store.ts';
import type { BackupDeps, Destination } from './options.ts';
import { lockOf } from './upload.ts';

type CompleteDeps = Pick<BackupDeps, 'cluster' | 'catalogue' | 'destinations' | 'clock'>;

const MAX_SIGNATURE_BYTES = 4096;

/**
 * Copies signature and manifest, byte for byte, from where they are to every destination that the manifest names as
 * holding a copy, after that copy was proven again. Gives the names of those that got them.
 *
 * Whatever goes wrong at one destination is told to `onFailure`, and nothing is changed there.
 */
export async function completeCopies(
  deps: CompleteDeps,
  snapshot: SnapshotId,
  signal: AbortSignal,
  onFailure: (store: string, e: unknown) => void,
): Promise<string[]> {
  const completed: string[] = [];
  let signed: Signed | undefined;
  for (const destination of deps.destinations) {
    const { store } = destination;
    try {
      const there = await commitIn(deps.catalogue, store, snapshot, signal);
      if (there.kind === 'manifest') continue;
      signed ??= await readSigned(deps, snapshot, signal);
      if (await completeCopy(deps, destination, { snapshot, there }, signed, signal)) completed.push(store.name);
    } catch (e) {
      onFailure(store.name, e);
    }
  }
  return completed;
}

type Signed = { manifest: Manifest; bytes: Uint8Array; signature: Uint8Array };

/** A manifest that the catalogue accepts, with the signature that makes it accept it. */
async function readSigned(deps: CompleteDeps, snapshot: SnapshotId, signal: AbortSignal): Promise<Signed> {
  const { manifest, bytes, readFrom } = await deps.catalogue.read(snapshot, signal);
  const from = deps.destinations.find(({ store }) => store.name === readFrom)?.store;
  if (from === undefined) throw new StrongroomError('E_BUG', `the catalogue read from an unknown store ${readFrom}`);
  const key = objectKey(deps.cluster, 'sigs', snapshot);
  const signature = await collect(from.get(key, { signal }), MAX_SIGNATURE_BYTES);
  deps.catalogue.checkSignature(bytes, signature);
  return { manifest, bytes, signature };
}

/** false = the manifest promises no copy here */
async function completeCopy(
  deps: CompleteDeps,
  destination: Destination,
  { snapshot, there }: { snapshot: SnapshotId; there: Commit },
  { manifest, bytes, signature }: Signed,
  signal: AbortSignal,
): Promise<boolean> {
  const { store } = destination;
  const isPromised = manifest.destinations.some(({ name, status }) => name === store.name && status === 'stored');
  if (!isPromised) return false;
  const data = objectKey(deps.cluster, 'data', snapshot);
  await proveCopy(store, data, expectedParts(manifest), manifest.ciphertext.sha256Composite, 'checksum', signal);
  const put = { signal, condition: 'absent', ...lockOf(destination, deps.clock.now()) } as const;
  const signatureKey = objectKey(deps.cluster, 'sigs', snapshot);
  try {
    await store.put(signatureKey, signature, { ...put, contentType: 'application/octet-stream' });
  } catch (e) {
    if (!isError(e, 'E_STORE_CONFLICT') || !(await holds(store, signatureKey, signature, signal))) throw e;
  }
  const manifestKey = objectKey(deps.cluster, 'manifests', snapshot);
  // A fence that came too late, since another destination has it: what was published once is to be everywhere.
  const condition = there.kind === 'tombstone' ? { etag: there.etag } : 'absent';
  await store.put(manifestKey, bytes, { ...put, condition, contentType: 'application/json' });
  return true;
}

async function holds(store: Store, key: ObjectKey, bytes: Uint8Array, signal: AbortSignal): Promise<boolean> {
  const head = await store.head(key, { signal });
  if (head === null || head.bytes !== bytes.byteLength) return false;
  return Buffer.compare(await collect(store.get(key, { signal }), MAX_SIGNATURE_BYTES), bytes) === 0;
}
