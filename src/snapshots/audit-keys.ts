/** keys.json of one snapshot in every store: not signed, but it must belong there, and be the same everywhere. */
import type { Catalogue } from '../catalogue/catalogue.ts';
import { isError } from '../core/errors.ts';
import { collect } from '../core/flow.ts';
import type { SnapshotId } from '../core/ids.ts';
import { parseSidecar } from '../crypt/sidecar.ts';
import { objectKey } from '../store/layout.ts';
import type { Store } from '../store/store.ts';
import type { Report } from './audit-findings.ts';
import type { Objects } from './audit-walk.ts';

const MAX_SIDECAR_BYTES = 2 ** 20;

/** Rejects as a store does. */
export async function auditKeys(
  { catalogue: { cluster }, report }: { catalogue: Catalogue; report: Report },
  stores: ReadonlyMap<Store, Objects>,
  snapshot: SnapshotId,
  signal: AbortSignal,
): Promise<void> {
  const key = objectKey(cluster, 'keys', snapshot);
  const found: { store: string; text: string; revision: number }[] = [];
  for (const [store, { keys }] of stores) {
    if (keys === undefined) continue;
    try {
      const bytes = await collect(store.get(key, { signal }), MAX_SIDECAR_BYTES);
      const { revision } = parseSidecar(bytes, { cluster, snapshot });
      found.push({ store: store.name, text: Buffer.from(bytes).toString('utf8'), revision });
    } catch (e) {
      signal.throwIfAborted();
      // Removed since it was listed, as a prune does.
      if (isError(e, 'E_NOT_FOUND')) continue;
      if (!isError(e, 'E_MANIFEST') && !(e instanceof RangeError)) throw e;
      report('keys-bad', e.message, { destination: store.name, snapshot, key });
    }
  }
  const newest = found.reduce<(typeof found)[number] | null>(
    (best, one) => (best === null || one.revision > best.revision ? one : best),
    null,
  );
  for (const { store, text, revision } of found) {
    if (newest === null || text === newest.text) continue;
    const message = `its keys are revision ${revision}, and not those in ${newest.store}, revision ${newest.revision}`;
    report('keys-differ', message, { destination: store, snapshot, key });
  }
}
