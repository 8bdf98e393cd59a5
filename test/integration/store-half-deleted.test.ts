/** Every subset of a snapshot's four objects taken away, in one destination of two or in both: what is said, and by whom. */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Manifest } from '../../src/catalogue/manifest.ts';
import { isError } from '../../src/core/errors.ts';
import { collect } from '../../src/core/flow.ts';
import type { SnapshotId } from '../../src/core/ids.ts';
import { KIND_NAMES, KINDS, lookAtCopies } from '../../src/snapshots/presence.ts';
import { type VerifyDeps, verifySnapshot } from '../../src/snapshots/verify.ts';
import { type ObjectKind, objectKey } from '../../src/store/layout.ts';
import type { Store } from '../../src/store/store.ts';
import { failureOf } from '../support/backup-trial.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { Shelf } from '../support/shelf.ts';
import { runCli } from '../support/strongroom-cli.ts';
import { worldEnv } from '../support/world.ts';

const never = new AbortController().signal;
const BOTH = ['a', 'b'] as const;
type Where = (typeof BOTH)[number];

let shelf: Shelf;
let deps: VerifyDeps;
/** a bucket, and a directory */
let stores: Record<Where, Store>;
let older: SnapshotId;
let newer: Manifest & { snapshot: SnapshotId };

beforeAll(async () => {
  const server = await sharedServer('versitygw');
  const bucket = `half-${randomUUID()}`;
  await server.createBucket(bucket);
  shelf = await Shelf.open(
    { a: { type: 's3', server, bucket }, b: { type: 'directory', path: 'b' } },
    worldEnv(server),
  );
  deps = await shelf.snapshots();
  const [a, b] = deps.stores;
  if (a === undefined || b === undefined) throw new Error('two destinations are configured');
  stores = { a, b };
  older = (await shelf.publish()).snapshot;
  newer = await shelf.publish();
});
afterAll(() => shelf?.[Symbol.asyncDispose]());

/** Decrypted where one object alone is missing; where it is more, every byte is compared only. */
const verify = async (kinds: readonly ObjectKind[]) => {
  const openers = kinds.length === 1 ? {} : { identities: [] };
  return {
    copies: (await verifySnapshot({ ...deps, ...openers }, newer, never)).copies,
    whole: kinds.length === 1 ? 'archive' : 'ciphertext',
  };
};
const keyOf = (kind: ObjectKind) => objectKey(shelf.deps.cluster, kind, newer.snapshot);

/** Takes the objects away, runs `look`, and puts them back as they were. */
async function without(
  kinds: readonly ObjectKind[],
  where: readonly Where[],
  look: () => Promise<void>,
): Promise<void> {
  const back: (() => Promise<unknown>)[] = [];
  for (const name of where) {
    const store = stores[name];
    for (const kind of kinds) {
      const key = keyOf(kind);
      const bytes = await collect(store.get(key, { signal: never }), 2 ** 20);
      const metadata = (await store.head(key, { signal: never }))?.metadata ?? {};
      await store.delete(key, { signal: never });
      const put = { signal: never, condition: 'absent', contentType: 'application/octet-stream', metadata } as const;
      back.push(() => store.put(key, bytes, put));
    }
  }
  try {
    await look();
  } finally {
    for (const put of back) await put();
  }
}

const subsets = Array.from({ length: 15 }, (_, i) => KINDS.filter((_kind, bit) => ((i + 1) & (1 << bit)) !== 0));
const named = subsets.map((kinds) => [kinds.map((kind) => KIND_NAMES[kind]).join(', '), kinds] as const);
const listed = async (): Promise<string[]> => {
  const { entries, failures } = await deps.catalogue.list(never);
  expect(failures).toEqual([]);
  expect(entries).toContainEqual({ snapshot: older, destinations: ['a', 'b'] });
  return entries.find(({ snapshot }) => snapshot === newer.snapshot)?.destinations ?? [];
};
const lackOf = (kinds: readonly ObjectKind[]) =>
  `lacks of ${newer.snapshot}: ${kinds.map((k) => KIND_NAMES[k]).join(', ')}`;

it('nothing is missing: nobody says so', async () => {
  expect(await listed()).toEqual(['a', 'b']);
  const { newest, skipped } = await deps.catalogue.latest(never);
  expect(newest).toMatchObject({ manifest: { snapshot: newer.snapshot }, refused: [] });
  expect(skipped).toEqual([]);
  const seen = await lookAtCopies(deps, newer, never);
  expect(seen).toMatchObject(BOTH.map((destination) => ({ destination, promised: 'stored', lacks: [], problems: [] })));
  const { copies } = await verifySnapshot(deps, newer, never);
  expect(copies).toMatchObject(BOTH.map((destination) => ({ destination, level: 'archive', lacks: [], error: null })));
});

describe.each(BOTH)('%s alone lacks', (where) => {
  const other = where === 'a' ? 'b' : 'a';

  it.each(named)('%s', async (_names, kinds) => {
    await without(kinds, [where], async () => {
      expect(await listed()).toEqual(kinds.includes('manifests') ? [other] : ['a', 'b']);

      const { newest, skipped } = await deps.catalogue.latest(never);
      expect(newest?.manifest.snapshot).toBe(newer.snapshot);
      expect(skipped).toEqual([]);
      const isAcceptable = !kinds.includes('manifests') && !kinds.includes('sigs');
      expect(newest?.readFrom).toBe(isAcceptable || where === 'b' ? 'a' : 'b');

      const seen = await lookAtCopies(deps, newer, never);
      const mine = seen.find(({ destination }) => destination === where);
      expect(mine?.lacks).toEqual(kinds);
      expect(mine?.problems).toMatchObject([
        { code: 'E_NOT_FOUND', message: expect.stringContaining(lackOf(kinds)) as string },
      ]);
      expect(seen.find(({ destination }) => destination === other)).toMatchObject({ lacks: [], problems: [] });

      const { copies, whole } = await verify(kinds);
      expect(copies.find(({ destination }) => destination === where)).toMatchObject({
        level: kinds.includes('data') ? 'failed' : whole,
        lacks: kinds,
        error: { code: 'E_NOT_FOUND' },
      });
      expect(copies.find(({ destination }) => destination === other)).toMatchObject({ level: whole, error: null });
    });
  });
});

describe('both lack', () => {
  it.each(named)('%s', async (_names, kinds) => {
    await without(kinds, BOTH, async () => {
      expect(await listed()).toEqual(kinds.includes('manifests') ? [] : ['a', 'b']);

      const { newest, skipped } = await deps.catalogue.latest(never);
      const reading = await deps.catalogue.read(newer.snapshot, never).catch((e: unknown) => e);
      if (kinds.includes('manifests')) {
        // The pointer still names it: the older one is not handed out as if it were the newest.
        expect(newest?.manifest.snapshot).toBe(older);
        expect(skipped).toMatchObject([{ code: 'E_NOT_FOUND' }]);
        const message = kinds.includes('data')
          ? `no destination has a snapshot ${newer.snapshot}`
          : `no destination has the manifest of ${newer.snapshot}; its data is in a and b`;
        expect(reading).toMatchObject({ code: 'E_NOT_FOUND', message: expect.stringContaining(message) as string });
        expect(skipped[0]?.message).toContain(message);
      } else if (kinds.includes('sigs')) {
        expect(newest?.manifest.snapshot).toBe(older);
        expect(skipped).toMatchObject([{ code: 'E_SIGNATURE' }]);
        expect(isError(reading, 'E_SIGNATURE')).toBe(true);
      } else {
        expect(newest?.manifest.snapshot).toBe(newer.snapshot);
        expect(skipped).toEqual([]);
      }

      for (const { lacks, problems } of await lookAtCopies(deps, newer, never)) {
        expect(lacks).toEqual(kinds);
        expect(problems).toMatchObject([
          { code: 'E_NOT_FOUND', message: expect.stringContaining(lackOf(kinds)) as string },
        ]);
      }
      const { copies, whole } = await verify(kinds);
      const level = kinds.includes('data') ? 'failed' : whole;
      expect(copies).toMatchObject(BOTH.map(() => ({ level, lacks: kinds, error: { code: 'E_NOT_FOUND' } })));
    });
  });
});

describe('on the command line', () => {
  const run = (...args: string[]) =>
    runCli([...args, '--json', '--config', shelf.app.configFile], { env: shelf.app.env });

  it('a manifest without data: listed, shown as not whole, and refused by verify with its exit code', async () => {
    await without(['data'], BOTH, async () => {
      const list = await run('snapshots', 'list');
      expect(list.code).toBe(0);
      expect(list.stdout).toContain(newer.snapshot);
      const show = await run('snapshots', 'show', 'latest');
      expect(show.code).toBe(0);
      expect(JSON.parse(show.stdout)).toMatchObject({
        manifest: { snapshot: newer.snapshot },
        copies: BOTH.map((destination) => ({ destination, lacks: ['data'], problems: [{ code: 'E_NOT_FOUND' }] })),
      });
      expect(show.stderr.match(/lacks of \w+: data/g)).toHaveLength(2);
      const verify = await run('snapshots', 'verify', 'latest');
      expect(verify.code).toBe(10);
      expect(failureOf(verify)).toMatchObject({ code: 'E_NOT_FOUND', exitCode: 10 });
      expect(JSON.parse(verify.stdout)).toMatchObject({
        copies: BOTH.map(() => ({ level: 'failed', lacks: ['data'] })),
      });
    });
  });

  it('data without a manifest: not listed, and "latest" is refused with the reason instead of being the one before', async () => {
    await without(['manifests', 'sigs'], BOTH, async () => {
      const list = await run('snapshots', 'list');
      expect(list.stdout).not.toContain(newer.snapshot);
      for (const id of ['latest', newer.snapshot]) {
        const verify = await run('snapshots', 'verify', id);
        expect(verify).toMatchObject({ code: 10, stdout: '' });
        expect(failureOf(verify)).toMatchObject({
          message: expect.stringContaining('its data is in a and b') as string,
          hint: expect.stringContaining('README.md') as string,
        });
      }
    });
  });

  it('verify of one destination looks at that one alone, and one that the manifest does not name is no success', async () => {
    await without(['data'], ['b'], async () => {
      const a = await run('snapshots', 'verify', 'latest', '--destination', 'a');
      expect(a.code).toBe(0);
      expect(JSON.parse(a.stdout)).toMatchObject({ copies: [{ destination: 'a', level: 'archive', error: null }] });
      const b = await run('snapshots', 'verify', 'latest', '--destination', 'b');
      expect(b.code).toBe(10);
    });
    const config = await readFile(shelf.app.configFile, 'utf8');
    const more = config
      .replace(/^destinations:\n/m, '$&  c:\n    type: directory\n    path: c\n')
      .replace(/^( +)- a\n/m, '$1- c\n$&');
    await writeFile(join(shelf.world.directory, 'three.yaml'), more);
    await mkdir(join(shelf.world.directory, 'c'));
    const c = await runCli(
      [
        'snapshots',
        'verify',
        'latest',
        '--destination',
        'c',
        '--json',
        '--config',
        join(shelf.world.directory, 'three.yaml'),
      ],
      { env: shelf.app.env },
    );
    expect(c.code).toBe(10);
    expect(failureOf(c).message).toContain('knows no copy in "c"');
  });
});

it('a signature of somebody else in one destination: told of that destination, and the other one is read', async () => {
  const path = join(shelf.world.directory, 'b', keyOf('sigs'));
  const signature = await readFile(path);
  await writeFile(path, Buffer.from(signature).reverse());
  await rm(join(shelf.world.directory, 'b', '.strongroom', 'meta', keyOf('sigs')));
  try {
    const { copies } = await verifySnapshot(deps, newer, never);
    expect(copies).toMatchObject([
      { destination: 'a', level: 'archive', error: null },
      { destination: 'b', level: 'archive', lacks: [], error: { code: 'E_SIGNATURE' } },
    ]);
  } finally {
    await writeFile(path, signature);
  }
});
