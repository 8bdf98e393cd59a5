/** What is really there of a snapshot now, object by object: a manifest says what was stored, not what is left of it. */
import type { Catalogue } from '../catalogue/catalogue.ts';
import { hiddenVersion } from '../catalogue/copy.ts';
import type { Manifest } from '../catalogue/manifest.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import type { SnapshotId } from '../core/ids.ts';
import { type ObjectKind, objectKey } from '../store/layout.ts';
import type { Store } from '../store/store.ts';

export type CopyPresence = {
  destination: string;
  location: string;
  /** what the manifest says of this copy; null = it does not name this destination */
  promised: Manifest['destinations'][number]['status'] | null;
  /** objects of the snapshot that are not there */
  lacks: ObjectKind[];
  /**
   * the manifest promises it, or stands there itself: a destination that was away, or came later, got its copy after the
   * manifest was signed
   */
  isCopy: boolean;
  /** what is wrong with a copy; empty = its objects are there, in their length, under a good signature */
  problems: StrongroomError[];
};

export const KINDS = ['keys', 'data', 'sigs', 'manifests'] as const satisfies readonly ObjectKind[];

/** In the words of docs/format.md. */
export const KIND_NAMES: Record<ObjectKind, string> = {
  keys: 'keys',
  data: 'data',
  sigs: 'signature',
  manifests: 'manifest',
};

const CONSEQUENCES: Record<ObjectKind, string> = {
  data: 'nothing can be restored from there; another destination may hold it',
  manifests: 'should the other destinations be lost, the snapshot is not found there: copy manifest and signature back',
  sigs: 'should the other destinations be lost, its manifest is not trusted there: copy the signature back',
  keys: 'the wraps kept with the data, or a break-glass identity, still open it; copy keys.json back from another destination',
};

/**
 * Looks at every object of `manifest`'s snapshot in every store, all stores at once; no data is read. A store that does
 * not answer is a problem of its copy. `manifest` must come from `catalogue`. Rejects with the abort reason only.
 */
export async function lookAtCopies(
  { catalogue, stores }: { catalogue: Catalogue; stores: readonly Store[] },
  manifest: Manifest,
  signal: AbortSignal,
): Promise<CopyPresence[]> {
  return await Promise.all(stores.map((store) => lookAtCopy(catalogue, store, manifest, signal)));
}

async function lookAtCopy(
  catalogue: Catalogue,
  store: Store,
  manifest: Manifest,
  signal: AbortSignal,
): Promise<CopyPresence> {
  const copy = manifest.destinations.find(({ name }) => name === store.name);
  const seen: CopyPresence = {
    destination: store.name,
    location: store.location,
    promised: copy?.status ?? null,
    lacks: [],
    isCopy: copy?.status === 'stored',
    problems: [],
  };
  try {
    await lookAtObjects(catalogue, store, manifest, seen, signal);
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    seen.problems.push(e);
  }
  // What was never promised cannot be missed.
  return seen.isCopy ? seen : { ...seen, problems: [] };
}

async function lookAtObjects(
  catalogue: Catalogue,
  store: Store,
  manifest: Manifest,
  seen: CopyPresence,
  signal: AbortSignal,
): Promise<void> {
  const snapshot = manifest.snapshot as SnapshotId;
  const dataKey = objectKey(catalogue.cluster, 'data', snapshot);
  const version = await hiddenVersion(manifest, dataKey, store, signal);
  if (version !== null) seen.problems.push(hidden(store, snapshot, version));
  for (const kind of KINDS) {
    const head = await store.head(objectKey(catalogue.cluster, kind, snapshot), { signal });
    if (kind === 'manifests' && head !== null) seen.isCopy = true;
    if (head === null) seen.lacks.push(kind);
    else if (kind === 'data' && version === null && head.bytes !== manifest.ciphertext.bytes) {
      const sizes = `${head.bytes} bytes instead of ${manifest.ciphertext.bytes}`;
      seen.problems.push(
        new StrongroomError('E_STORE_CHECKSUM', `${store.location} does not hold the data that was signed: ${sizes}`, {
          hint: 'treat this copy as damaged or tampered with',
          retryable: false,
        }),
      );
    }
  }
  if (seen.lacks.length > 0) seen.problems.push(lacking(store, snapshot, seen.lacks));
  if (seen.lacks.includes('manifests') || seen.lacks.includes('sigs')) return;
  // The manifest may have been read from another destination: this one's own must be as good.
  await catalogue.only(store.name).read(snapshot, signal);
}

/** Said by names and lengths alone; {@link isHiding} tells it from the others, for whoever has read the data since. */
function hidden(store: Store, snapshot: SnapshotId, versionId: string): StrongroomError {
  return new StrongroomError(
    'E_NOT_FOUND',
    `${store.location} shows the data of ${snapshot} no more: it was deleted or overwritten, and is kept as version ${versionId}`,
    {
      hint: 'verify and restore read that version; remove the delete marker, or what was put over it, and find out who did it',
      details: { snapshot, destination: store.name, versionId },
    },
  );
}

/** Is `problem` that something else lies over the data? */
export function isHiding({ code, details }: StrongroomError): boolean {
  return code === 'E_NOT_FOUND' && details['versionId'] !== undefined;
}

function lacking(store: Store, snapshot: SnapshotId, lacks: readonly ObjectKind[]): StrongroomError {
  const what = lacks.map((kind) => KIND_NAMES[kind]).join(', ');
  const worst = lacks.includes('data') ? 'data' : (lacks.at(-1) ?? 'data');
  return new StrongroomError('E_NOT_FOUND', `${store.location} lacks of ${snapshot}: ${what}`, {
    hint: CONSEQUENCES[worst],
    details: { snapshot, destination: store.name, lacks },
  });
}
