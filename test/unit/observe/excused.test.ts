/** Copies that look wrong and are not: by a signed record of a prune, or by one of a reading. And those that only claim it. */
import { rm } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Catalogue } from '../../../src/catalogue/catalogue.ts';
import { Records } from '../../../src/catalogue/records.ts';
import type { SnapshotId } from '../../../src/core/ids.ts';
import { generateSigningKey } from '../../../src/crypt/generate.ts';
import { localSigner } from '../../../src/crypt/sign.ts';
import type { StatusDeps } from '../../../src/observe/cluster-status.ts';
import { readStatus } from '../../../src/observe/status.ts';
import { objectKey } from '../../../src/store/layout.ts';
import { hooked } from '../../support/hooked-store.ts';
import { at, Scene } from './scene.ts';

const never = new AbortController().signal;
const stranger = localSigner(generateSigningKey().privateKeyPem);
let scene: Scene;

beforeEach(async () => {
  scene = await Scene.create();
});
afterEach(() => scene?.[Symbol.asyncDispose]());

const destination = (status: Awaited<ReturnType<Scene['status']>>, name: string) =>
  status.destinations.find((one) => one.name === name);

describe('a copy that retention removed from one destination', () => {
  const removed = async (signer = scene.signer): Promise<string> => {
    const snapshot = await scene.backup(at(0));
    await scene.pruned(snapshot, 'b', at(1), signer);
    for (const kind of ['keys', 'data', 'sigs', 'manifests'] as const)
      await rm(scene.path('b', objectKey(scene.cluster, kind, snapshot)));
    return snapshot;
  };

  it('is not missing: the backup is whole all the same', async () => {
    const snapshot = await removed();
    const status = await scene.status(at(7));
    expect(status).toMatchObject({ newestWhole: { snapshot } });
    expect(destination(status, 'b')).toMatchObject({ copiesMissing: 0 });
  });

  it('is missing where a stranger signed the record', async () => {
    await removed(stranger);
    const status = await scene.status(at(7));
    expect(status.newestWhole).toBeNull();
    expect(destination(status, 'b')).toMatchObject({ copiesMissing: 1 });
  });

  it('does not make whole what nobody has any more', async () => {
    const snapshot = await removed();
    await scene.pruned(snapshot as SnapshotId, 'a', at(1));
    await rm(scene.path('a', objectKey(scene.cluster, 'manifests', snapshot as SnapshotId)));
    expect((await scene.status(at(7))).newestWhole).toBeNull();
  });
});

describe('data that was put over the version of the backup', () => {
  const over = async (): Promise<{ snapshot: SnapshotId; deps: StatusDeps }> => {
    const named = scene.stores.map(({ name, location }) => ({ name, location, etag: 'e', proof: 'checksum' as const }));
    const stored = named.map((copy) => ({ ...copy, status: 'stored' as const, versionId: 'v1' }));
    const snapshot = await scene.backup(at(0), { manifest: { destinations: stored } });
    const key = objectKey(scene.cluster, 'data', snapshot);
    // A bucket that keeps versions and no checksums, as a directory does not.
    const stores = scene.stores.map((store) =>
      hooked(store, {
        head: async (next, asked, { versionId = 'v2' }) => {
          const head = await (asked === key ? store.head(key, { signal: never }) : next());
          if (asked !== key || head === null) return head;
          const { sha256: _, ...rest } = head;
          return { ...rest, versionId, modifiedAt: at(2) };
        },
      }),
    );
    const parts = { cluster: scene.cluster, stores, trusted: scene.trusted };
    const records = new Records({ ...parts, signer: null });
    return { snapshot, deps: { catalogue: new Catalogue(parts), records, stores, locked: [] } };
  };

  it.each([
    ['was never read', null, false],
    ['was read before', at(1), false],
    ['was read since', at(3), true],
  ])('makes it whole only where it %s', async (_name, time, isWhole) => {
    const { snapshot, deps } = await over();
    const { sha256 } = await deps.catalogue.read(snapshot, never);
    if (time !== null) {
      for (const where of ['a', 'b']) await scene.proof(time, snapshot, where, { manifestSha256: sha256 });
    }
    const { newestWhole } = await readStatus(deps, at(7), never);
    expect(newestWhole?.snapshot ?? null).toBe(isWhole ? snapshot : null);
  });
});
