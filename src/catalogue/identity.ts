/** The identity that opens one snapshot: from the sidecar of any destination, or from a break-glass identity directly. */
import { isError, StrongroomError } from '../core/errors.ts';
import { collect } from '../core/flow.ts';
import type { ClusterName, SnapshotId } from '../core/ids.ts';
import type { Secret } from '../core/secret.ts';
import { unwrapIdentity } from '../crypt/keyring.ts';
import type { KmsKey } from '../crypt/kms.ts';
import { parseSidecar, type Sidecar } from '../crypt/sidecar.ts';
import { wrapsFromMetadata } from '../crypt/wrap-metadata.ts';
import { objectKey } from '../store/layout.ts';
import type { Store } from '../store/store.ts';

const MAX_SIDECAR_BYTES = 2 ** 20;

/** A sidecar, or what the metadata of a data object keeps of one. */
type Wraps = Pick<Sidecar, 'cluster' | 'snapshot' | 'wraps'>;

export type OpenIdentityDeps = {
  cluster: ClusterName;
  stores: readonly Store[];
  kms: readonly KmsKey[];
  identities: readonly Secret<string>[];
};

/**
 * `recipient` is that of the signed manifest. Tries the sidecar of every destination, then the copy of the wraps in the data object's metadata; break-glass
 * identities also open the data header itself, so with one of them no sidecar is needed at all.
 * Rejects with E_KEY_UNAVAILABLE naming every way that was tried.
 */
export async function openIdentity(
  deps: OpenIdentityDeps,
  snapshot: SnapshotId,
  recipient: string,
  signal: AbortSignal,
): Promise<{ identities: readonly Secret<string>[]; openedWith: string }> {
  const errors: string[] = [];
  for await (const { sidecar, from } of sidecars(deps, snapshot, errors, signal)) {
    try {
      const openers = { kms: deps.kms, identities: deps.identities };
      const { identity, openedWith } = await unwrapIdentity(sidecar, openers, signal, { recipient });
      return { identities: [identity], openedWith };
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      errors.push(`${from}: ${e.message}`);
    }
  }
  if (deps.identities.length > 0) {
    return { identities: deps.identities, openedWith: 'a break-glass identity, on the data header itself' };
  }
  throw new StrongroomError('E_KEY_UNAVAILABLE', `nothing opens snapshot ${snapshot}: ${errors.join('; ')}`, {
    hint: 'bring a KMS region back, or give a break-glass identity in encryption.identities',
  });
}

/** Sidecars in the order of the stores; a store without one may still have the wraps in the data object's metadata. */
async function* sidecars(
  deps: Pick<OpenIdentityDeps, 'cluster' | 'stores'>,
  snapshot: SnapshotId,
  errors: string[],
  signal: AbortSignal,
): AsyncGenerator<{ sidecar: Wraps; from: string }> {
  const expect = { cluster: deps.cluster, snapshot };
  for (const store of deps.stores) {
    try {
      const key = objectKey(deps.cluster, 'keys', snapshot);
      const bytes = await collect(store.get(key, { signal }), MAX_SIDECAR_BYTES);
      yield { sidecar: parseSidecar(bytes, expect), from: `${store.name} keys.json` };
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e) && !(e instanceof RangeError)) throw e;
      errors.push(`${store.name}: ${e.message}`);
    }
  }
  for (const store of deps.stores) {
    try {
      const head = await store.head(objectKey(deps.cluster, 'data', snapshot), { signal });
      const wraps = wrapsFromMetadata(head?.metadata ?? {});
      if (wraps.length > 0) yield { sidecar: { ...expect, wraps }, from: `${store.name} object metadata` };
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      errors.push(`${store.name}: ${e.message}`);
    }
  }
}
