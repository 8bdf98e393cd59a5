/** The catalogue over real directories: what is found, what is refused, and what a lost cache or destination costs. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ulid } from 'ulid';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Catalogue } from '../../../src/catalogue/catalogue.ts';
import { type Manifest, parseManifest, serialiseManifest } from '../../../src/catalogue/manifest.ts';
import { newSnapshotId, parseClusterName, type SnapshotId } from '../../../src/core/ids.ts';
import { Secret } from '../../../src/core/secret.ts';
import { generateSigningKey } from '../../../src/crypt/generate.ts';
import { localSigner } from '../../../src/crypt/sign.ts';
import { FileStore } from '../../../src/store/file.ts';
import { latestKey, objectKey } from '../../../src/store/layout.ts';

const never = new AbortController().signal;
const cluster = parseClusterName('prod');
const signer = localSigner(new Secret(generateSigningKey().privateKeyPem.reveal()));
let root: string;
let stores: FileStore[];
let catalogue: Catalogue;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'strongroom-catalogue-'));
  stores = [];
  for (const name of ['a', 'b']) {
    await mkdir(join(root, name));
    stores.push(new FileStore({ name, directory: join(root, name) }));
  }
  catalogue = new Catalogue({ cluster, stores, trusted: [await signer.publicKeyPem(never)] });
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

const HASH = 'a'.repeat(64);
const at = (hour: number): SnapshotId => newSnapshotId(new Date(Date.UTC(2027, 0, 1, hour)));

function manifestOf(snapshot: SnapshotId): Manifest {
  return {
    schema: '1',
    cluster,
    snapshot,
    run: snapshot,
    purpose: 'backup',
    createdAt: '2027-01-01T00:00:00.000Z',
    finishedAt: '2027-01-01T00:00:01.000Z',
    tool: { name: 'strongroom', version: '0' },
    source: { node: 'https://n', clusterId: null, product: 'openbao', productVersion: null },
    archive: {
      bytes: 1,
      members: [],
      compression: 'stored',
      product: 'openbao',
      productVersion: null,
      raft: { index: 1, term: 1, servers: [] },
      seal: { type: 'shamir', shares: 1, threshold: 1, recovery: null, keyIds: [], sealedSums: 'present' },
      state: {
        records: 1,
        bytes: 1,
        areas: [],
        mounts: [],
        leases: [],
        leaseCount: 0,
        staticRoles: 0,
        walEntries: 0,
        policies: 0,
        tokens: 0,
        namespaces: 0,
        auditDevices: 0,
        terms: [],
      },
      cautions: [],
    },
    ciphertext: {
      format: 'age-v1',
      bytes: 1,
      headerSha256: HASH,
      partSize: 1,
      parts: 1,
      partSha256: ['x'],
      sha256Composite: 'x-1',
    },
    keys: { recipient: 'age1', object: 'k', recipients: [], kms: [] },
    destinations: [],
    previous: null,
    warnings: [],
    signer: { keyId: signer.keyId, alg: 'ECDSA_P256_SHA256' },
  };
}

async function publish(
  snapshot: SnapshotId,
  where: readonly FileStore[],
  change = (b: Uint8Array) => b,
  purpose: Manifest['purpose'] = 'backup',
): Promise<void> {
  const bytes = serialiseManifest({ ...manifestOf(snapshot), purpose });
  const put = { signal: never, condition: 'absent', contentType: 'application/json' } as const;
  for (const store of where) {
    await store.put(objectKey(cluster, 'sigs', snapshot), await signer.sign(bytes, never), put);
    await store.put(objectKey(cluster, 'manifests', snapshot), change(bytes), put);
  }
}

describe('catalogue', () => {
  it('is empty, not broken, where nothing was ever stored', async () => {
    expect(await catalogue.list(never)).toEqual({ entries: [], failures: [] });
    expect(await catalogue.latest(never)).toEqual({ newest: null, skipped: [], failures: [], ignored: [] });
  });

  it('lists what any destination has, oldest first, and says where each is', async () => {
    const [one, two, three] = [at(1), at(2), at(3)];
    await publish(two, stores);
    await publish(three, stores.slice(1));
    await publish(one, stores.slice(0, 1));
    const { entries } = await catalogue.list(never);
    expect(entries).toEqual([
      { snapshot: one, destinations: ['a'] },
      { snapshot: two, destinations: ['a', 'b'] },
      { snapshot: three, destinations: ['b'] },
    ]);
    expect((await catalogue.latest(never)).newest?.manifest.snapshot).toBe(three);
  });

  it('finds the newest with the pointer, without it, with a spoilt one, and with one that points at nothing', async () => {
    const [one, two] = [at(1), at(2)];
    await publish(one, stores);
    await publish(two, stores);
    const newest = async (): Promise<string | undefined> => (await catalogue.latest(never)).newest?.manifest.snapshot;
    expect(await newest()).toBe(two);
    for (const text of [
      'garbage',
      '{}',
      JSON.stringify({ manifest: objectKey(cluster, 'manifests', one) }),
      JSON.stringify({ manifest: objectKey(cluster, 'manifests', at(9)) }),
      JSON.stringify({ manifest: '../../etc/passwd' }),
      'x'.repeat(10_000),
    ]) {
      for (const name of ['a', 'b']) await writeFile(join(root, name, latestKey(cluster)), text);
      expect(await newest()).toBe(two);
    }
  });

  it('never gives a safety snapshot as the newest backup, wherever the pointer is, and reads it by its id', async () => {
    const [one, two, three] = [at(1), at(2), at(3)];
    await publish(one, stores);
    for (const id of [two, three]) await publish(id, stores, (b) => b, 'safety');
    for (const pointed of [one, two]) {
      for (const name of ['a', 'b']) {
        const pointer = JSON.stringify({ manifest: objectKey(cluster, 'manifests', pointed) });
        await writeFile(join(root, name, latestKey(cluster)), pointer);
      }
      const { newest, skipped } = await catalogue.latest(never);
      expect([newest?.manifest.snapshot, skipped]).toEqual([one, []]);
    }
    expect((await catalogue.read(three, never)).manifest.purpose).toBe('safety');
  });

  it('finds the newest up to a time: of that day, of an earlier one, of an earlier year, or none', async () => {
    const times = ['2025-12-31T23:00:00Z', '2026-11-02T01:00:00Z', '2026-11-20T01:00:00Z', '2026-11-20T02:00:00Z'];
    // Not newSnapshotId: that never goes back in time.
    const ids = times.map((time) => ulid(Date.parse(time)) as SnapshotId);
    for (const id of ids) await publish(id, stores);
    const upTo = async (time: string): Promise<SnapshotId | null> => {
      const { newest } = await catalogue.latest(never, { notAfter: new Date(time) });
      return newest === null ? null : (newest.manifest.snapshot as SnapshotId);
    };
    expect(await upTo('2027-01-01T00:00:00Z')).toBe(ids[3]);
    expect(await upTo('2026-11-20T02:00:00Z')).toBe(ids[3]);
    expect(await upTo('2026-11-20T01:59:59Z')).toBe(ids[2]);
    expect(await upTo('2026-11-20T00:59:59Z')).toBe(ids[1]);
    expect(await upTo('2026-10-01T00:00:00Z')).toBe(ids[0]);
    expect(await upTo('2025-01-01T00:00:00Z')).toBe(null);
  });

  it('does not pass over a newer manifest that it refuses', async () => {
    const [one, two] = [at(1), at(2)];
    await publish(one, stores);
    await publish(two, stores, (bytes) => Buffer.concat([bytes, Buffer.from(' ')]));
    const { newest, skipped } = await catalogue.latest(never);
    expect(newest?.manifest.snapshot).toBe(one);
    expect(skipped.map(({ code }) => code)).toEqual(['E_SIGNATURE']);
  });

  it('reads the good copy where the other one is spoilt, and says so', async () => {
    const one = at(1);
    await publish(one, stores.slice(0, 1), (bytes) => bytes.subarray(0, 50));
    await publish(one, stores.slice(1));
    const found = await catalogue.read(one, never);
    expect(found.readFrom).toBe('b');
    expect(found.refused).toMatchObject([{ destination: 'a', error: { code: 'E_SIGNATURE' } }]);
  });

  it('goes on with one destination, names the one that is away, and fails when all are', async () => {
    const one = at(1);
    await publish(one, stores);
    await rm(join(root, 'a'), { recursive: true });
    const { newest, failures } = await catalogue.latest(never);
    expect(newest?.manifest.snapshot).toBe(one);
    expect(failures).toHaveLength(1);
    await rm(join(root, 'b'), { recursive: true });
    await expect(catalogue.latest(never)).rejects.toMatchObject({ code: 'E_STORE_BUCKET' });
  });

  it('says that there is no such snapshot, and not that something is wrong with it', async () => {
    await publish(at(1), stores);
    await expect(catalogue.read(at(2), never)).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
  });
});

describe('manifest', () => {
  it('of another cluster, of another snapshot, or of no schema we know is refused', () => {
    const [one, two] = [at(1), at(2)];
    const bytes = serialiseManifest(manifestOf(one));
    expect(parseManifest(bytes, cluster, one).snapshot).toBe(one);
    const refused = expect.objectContaining({ code: 'E_MANIFEST' }) as Error;
    expect(() => parseManifest(bytes, cluster, two)).toThrow(refused);
    expect(() => parseManifest(bytes, parseClusterName('other'), one)).toThrow(refused);
    expect(() => parseManifest(Buffer.from('{"schema":"2"}'), cluster, one)).toThrow(refused);
    expect(() => parseManifest(Buffer.from('no JSON'), cluster, one)).toThrow(refused);
  });

  it('of something that has no name repeats nothing of it', () => {
    const bytes = serialiseManifest({ ...manifestOf(at(1)), cluster: '\u009b2J' });
    expect(() => parseManifest(bytes, cluster, at(1))).toThrow(/ is that of another\/[0-9A-Z]{26}$/);
  });
});
