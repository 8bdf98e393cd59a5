/** Somebody may write to every bucket: nothing that they can do reaches a cluster. Each attack is really made. */
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { collect } from '../../src/core/flow.ts';
import type { ClusterName, SnapshotId } from '../../src/core/ids.ts';
import { Secret } from '../../src/core/secret.ts';
import { newContainer } from '../../src/crypt/container.ts';
import { generateSigningKey } from '../../src/crypt/generate.ts';
import { localSigner } from '../../src/crypt/sign.ts';
import { type ObjectKind, objectKey } from '../../src/store/layout.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { type KmsEmulator, startKms } from '../support/kms-emulator.ts';
import { type AppOptions, backUp, rehearse } from '../support/strongroom-app.ts';
import { World, worldEnv } from '../support/world.ts';

const CLUSTER = 'prod' as ClusterName;
let kms: KmsEmulator;
let cluster: BaoCluster;
let world: World;
let app: AppOptions;
let older: SnapshotId;
let newer: SnapshotId;
const folders = { a: '', b: '' };

beforeAll(async () => {
  kms = await startKms();
  cluster = await startCluster({ version: '2.7.2', nodes: 1 });
  const wrapping = kms.createKey({ region: 'eu-central-1' });
  world = await World.create({
    destinations: { a: { type: 'directory', path: 'a' }, b: { type: 'directory', path: 'b' } },
    kms: [{ keyArn: wrapping, endpoint: kms.url }],
  });
  folders.a = join(world.directory, 'a');
  folders.b = join(world.directory, 'b');
  await mkdir(folders.a);
  await mkdir(folders.b);
  await world.grant(cluster);
  const configFile = await world.config(cluster.nodes.map((node) => node.url));
  app = { configFile, env: worldEnv({ accessKeyId: '', secretAccessKey: '' }) };
  await cluster.call('POST', 'sys/mounts/kv', { type: 'kv' });
  older = (await backUp(app)).manifest.snapshot as SnapshotId;
  await cluster.call('POST', 'kv/second', { value: 'x'.repeat(5000) });
  newer = (await backUp(app)).manifest.snapshot as SnapshotId;
  await cp(folders.a, join(world.directory, 'pristine'), { recursive: true });
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
  await kms?.[Symbol.asyncDispose]();
});
// Each attack starts from two whole destinations.
beforeEach(async () => {
  for (const folder of Object.values(folders)) {
    await rm(folder, { recursive: true, force: true });
    await cp(join(world.directory, 'pristine'), folder, { recursive: true });
  }
});
afterEach(async () => {
  expect(await readdir(join(world.spool, CLUSTER)).catch(() => [])).toEqual([]);
});

const pathOf = (folder: string, kind: ObjectKind, id: SnapshotId): string => join(folder, objectKey(CLUSTER, kind, id));

/** The same attack in both destinations, unless told otherwise. */
async function attack(
  kind: ObjectKind,
  id: SnapshotId,
  change: (bytes: Buffer) => Uint8Array,
  where: readonly string[] = Object.values(folders),
): Promise<void> {
  for (const folder of where) {
    const path = pathOf(folder, kind, id);
    await writeFile(path, change(await readFile(path)));
  }
}

async function copyOver(kind: ObjectKind, from: SnapshotId, to: SnapshotId): Promise<void> {
  for (const folder of Object.values(folders)) {
    await writeFile(pathOf(folder, kind, to), await readFile(pathOf(folder, kind, from)));
  }
}

const refused = async (snapshot: string, code: string): Promise<void> => {
  await expect(rehearse(app, { snapshot })).rejects.toMatchObject({ code });
};

describe('a destination that nobody touched', () => {
  it('is accepted, latest and by id: the refusals below mean something', async () => {
    await rehearse(app, { snapshot: 'latest' });
    await rehearse(app, { snapshot: older });
  });
});

describe('changed data is refused in both destinations', () => {
  it.each([
    ['truncated', (b: Buffer) => b.subarray(0, -1)],
    ['truncated at a chunk', (b: Buffer) => b.subarray(0, b.byteLength - 1000)],
    ['appended to', (b: Buffer) => Buffer.concat([b, Buffer.from([0])])],
    ['flipped in the header', (b: Buffer) => flip(b, 40)],
    ['flipped in the middle', (b: Buffer) => flip(b, b.byteLength >> 1)],
    ['flipped in the last byte', (b: Buffer) => flip(b, b.byteLength - 1)],
    [
      'reordered',
      (b: Buffer) =>
        Buffer.concat([b.subarray(0, 2000), b.subarray(4000, 6000), b.subarray(2000, 4000), b.subarray(6000)]),
    ],
    ['emptied', () => Buffer.alloc(0)],
  ])('%s', async (_name, change) => {
    await attack('data', newer, change);
    await refused('latest', 'E_STORE_CHECKSUM');
  });

  it('exchanged for that of another snapshot', async () => {
    await copyOver('data', older, newer);
    await refused('latest', 'E_STORE_CHECKSUM');
  });

  it('spliced from two snapshots: the header of one, the payload of the other', async () => {
    const head = await readFile(pathOf(folders.a, 'data', older));
    const headerEnd = (b: Buffer): number => b.indexOf('\n', b.indexOf('\n---') + 1) + 1;
    await attack('data', newer, (b) => Buffer.concat([head.subarray(0, headerEnd(head)), b.subarray(headerEnd(b))]));
    await refused('latest', 'E_STORE_CHECKSUM');
  });

  it('replaced by a file that somebody else encrypted to the public break-glass recipient', async () => {
    const planted = await newContainer([world.recipient]);
    const bytes = await collect(
      planted.encrypt(
        (async function* () {
          yield Buffer.from('not a snapshot');
        })(),
      ),
      2 ** 20,
    );
    await attack('data', newer, () => bytes);
    await refused('latest', 'E_STORE_CHECKSUM');
  });

  it('but one whole copy is enough', async () => {
    await attack('data', newer, (b) => flip(b, b.byteLength >> 1), [folders.a]);
    await rehearse(app, { snapshot: 'latest' });
  });
});

describe('a manifest is refused', () => {
  it.each([
    ['with one changed digit', (b: Buffer) => Buffer.from(b.toString().replace(/"index": \d/, '"index": 9'))],
    ['with one space more', (b: Buffer) => Buffer.concat([b, Buffer.from(' ')])],
    ['cut short', (b: Buffer) => b.subarray(0, 100)],
  ])('%s', async (_name, change) => {
    await attack('manifests', newer, change);
    await refused('latest', 'E_SIGNATURE');
    await refused(newer, 'E_SIGNATURE');
  });

  it('without its signature', async () => {
    for (const folder of Object.values(folders)) await rm(pathOf(folder, 'sigs', newer));
    await refused('latest', 'E_SIGNATURE');
  });

  it('with the signature of another one', async () => {
    await copyOver('sigs', older, newer);
    await refused('latest', 'E_SIGNATURE');
  });

  it('signed by a stranger', async () => {
    const stranger = localSigner(new Secret(generateSigningKey().privateKeyPem.reveal()));
    const bytes = await readFile(pathOf(folders.a, 'manifests', newer));
    const signature = await stranger.sign(bytes, new AbortController().signal);
    await attack('sigs', newer, () => signature);
    await refused('latest', 'E_SIGNATURE');
  });

  it('rolled back: an old, well-signed one in the place of the new one', async () => {
    await copyOver('manifests', older, newer);
    await copyOver('sigs', older, newer);
    await copyOver('data', older, newer);
    await copyOver('keys', older, newer);
    await refused('latest', 'E_MANIFEST');
    await refused(newer, 'E_MANIFEST');
  });

  it('and the newest one taken away from one destination is still found in the other', async () => {
    await rm(pathOf(folders.a, 'manifests', newer));
    await rm(pathOf(folders.a, 'sigs', newer));
    let found = '';
    await rehearse({ ...app, onProgress: ({ stage }) => (found += `${stage} `) }, { snapshot: 'latest' });
    expect(found).toContain('download');
    await refused('01AAAAAAAAAAAAAAAAAAAAAAAA', 'E_NOT_FOUND');
  });

  it('and a latest pointer that points back hides nothing', async () => {
    for (const folder of Object.values(folders)) {
      const pointer = join(folder, 'v1', CLUSTER, 'latest.json');
      await writeFile(pointer, JSON.stringify({ snapshot: older, manifest: objectKey(CLUSTER, 'manifests', older) }));
    }
    await using opened = await import('../support/strongroom-app.ts').then((m) => m.openApp(app));
    const { catalogue } = await opened.snapshotDeps(CLUSTER, new AbortController().signal);
    const { newest } = await catalogue.latest(new AbortController().signal);
    expect(newest?.manifest.snapshot).toBe(newer);
  });
});

describe('keys', () => {
  it('of another snapshot are refused, and the copy in the metadata of the data object opens it', async () => {
    await copyOver('keys', older, newer);
    await rehearse(app, { snapshot: 'latest' });
  });

  it('that wrap an identity of somebody else do not open anything', async () => {
    const strangers = await newContainer([world.recipient]);
    const key = kms.createKey({ region: 'eu-central-1' });
    expect(key).not.toBe('');
    // The sidecar is not signed: what it opens must be the identity that the signed manifest names.
    await attack('keys', newer, (b) => {
      const sidecar = JSON.parse(b.toString()) as { wraps: unknown[] };
      return Buffer.from(
        JSON.stringify({
          ...sidecar,
          wraps: [
            {
              type: 'age',
              recipient: strangers.recipient,
              ciphertext: '-----BEGIN AGE ENCRYPTED FILE-----\nAAAA\n-----END AGE ENCRYPTED FILE-----\n',
            },
          ],
        }),
      );
    });
    for (const folder of Object.values(folders))
      await rm(join(folder, '.strongroom', 'meta'), { recursive: true, force: true });
    await refused('latest', 'E_KEY_UNAVAILABLE');
  });
});

function flip(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}
