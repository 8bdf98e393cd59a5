/** Changes who can open a stored snapshot: its sidecar in every destination, never its data. */
import type { Catalogue } from '../catalogue/catalogue.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import { collect } from '../core/flow.ts';
import type { SnapshotId } from '../core/ids.ts';
import type { Secret } from '../core/secret.ts';
import type { Clock } from '../core/units.ts';
import type { KmsKey } from '../crypt/kms.ts';
import type { RecipientPolicy } from '../crypt/policy.ts';
import { type RewrapChanges, rewrapSidecar } from '../crypt/rewrap.ts';
import { parseSidecar, type Sidecar, serialiseSidecar } from '../crypt/sidecar.ts';
import { objectKey } from '../store/layout.ts';
import type { Store } from '../store/store.ts';

export type RewrapDeps = {
  catalogue: Catalogue;
  stores: readonly Store[];
  /** who shall open from now on */
  kms: readonly KmsKey[];
  breakGlass: readonly string[];
  recipientPolicy: RecipientPolicy;
  /** break-glass identities that can open now */
  identities: readonly Secret<string>[];
  clock: Clock;
};

export type RewrapResult = {
  snapshot: SnapshotId;
  revision: number;
  changes: RewrapChanges;
  /** destinations whose keys.json was written, and those where it could not be */
  written: string[];
  failures: { destination: string; error: StrongroomError }[];
};

const MAX_SIDECAR_BYTES = 4 * 2 ** 20;

type Found = { store: Store; sidecar: Sidecar | null; etag: string | null };

/**
 * Brings the wraps of `snapshot` to what the config wants: adds missing ones, drops retired ones, and writes the result
 * wherever it is not yet; with `dryRun` it only says what would change. Safe to repeat. Rejects with E_KEY_UNAVAILABLE when nothing here opens the snapshot, and with
 * E_NOT_FOUND when no destination has a usable sidecar of it; nothing is written then.
 */
export async function rewrapSnapshot(
  deps: RewrapDeps,
  snapshot: SnapshotId,
  options: { refresh: boolean; dryRun: boolean },
  signal: AbortSignal,
): Promise<RewrapResult> {
  const { manifest } = await deps.catalogue.read(snapshot, signal);
  const { found, failures } = await readSidecars(deps, snapshot, signal);
  const newest = found.reduce<Sidecar | null>(
    (best, { sidecar }) => (sidecar !== null && sidecar.revision > (best?.revision ?? 0) ? sidecar : best),
    null,
  );
  if (newest === null) {
    throw (
      failures[0]?.error ??
      new StrongroomError('E_NOT_FOUND', `no destination has the keys of ${snapshot}`, {
        hint: 'a break-glass identity still opens the data itself: strongroom restore',
      })
    );
  }
  const { sidecar, changes } = await rewrapSidecar(
    newest,
    {
      wanted: { kms: deps.kms, breakGlass: deps.breakGlass },
      openers: { kms: deps.kms, identities: deps.identities },
      policy: deps.recipientPolicy,
      now: deps.clock.now(),
      refresh: options.refresh,
      recipient: manifest.keys.recipient,
    },
    signal,
  );
  const written: string[] = [];
  for (const { store, sidecar: old, etag } of options.dryRun ? [] : found) {
    if (old !== null && old.revision === sidecar.revision) continue;
    try {
      await store.put(objectKey(deps.catalogue.cluster, 'keys', snapshot), serialiseSidecar(sidecar), {
        signal,
        condition: etag === null ? 'absent' : { etag },
        contentType: 'application/json',
      });
      written.push(store.name);
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      failures.push({ destination: store.name, error: e });
    }
  }
  return { snapshot, revision: sidecar.revision, changes, written, failures };
}

async function readSidecars(
  deps: RewrapDeps,
  snapshot: SnapshotId,
  signal: AbortSignal,
): Promise<{ found: Found[]; failures: RewrapResult['failures'] }> {
  const key = objectKey(deps.catalogue.cluster, 'keys', snapshot);
  const found: Found[] = [];
  const failures: RewrapResult['failures'] = [];
  for (const store of deps.stores) {
    try {
      const head = await store.head(key, { signal });
      const bytes = head === null ? null : await collect(store.get(key, { signal }), MAX_SIDECAR_BYTES);
      const expect = { cluster: deps.catalogue.cluster, snapshot };
      found.push({ store, sidecar: bytes === null ? null : parseSidecar(bytes, expect), etag: head?.etag ?? null });
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      failures.push({ destination: store.name, error: e });
    }
  }
  return { found, failures };
}
