/** Listings over real directories: filters, what is opened, and what is believed. */
import { rm, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Records } from '../../../src/catalogue/records.ts';
import { newRunId, type SnapshotId, snapshotTime } from '../../../src/core/ids.ts';
import { generateSigningKey } from '../../../src/crypt/generate.ts';
import { localSigner } from '../../../src/crypt/sign.ts';
import { type ListFilter, type Listing, listNames, listSnapshots } from '../../../src/snapshots/list.ts';
import type { Store } from '../../../src/store/store.ts';
import { Audited, proofOf } from '../../support/audited.ts';
import { runCli, runJson } from '../../support/strongroom-cli.ts';

const never = new AbortController().signal;
let on: Audited;
let ids: SnapshotId[];
let safety: SnapshotId;

beforeAll(async () => {
  on = await Audited.create();
  safety = (await on.shelf.publish({ purpose: 'safety' })).snapshot;
  ids = [...on.ids, safety].toReversed();
  await on.keep();
});
afterAll(() => on?.[Symbol.asyncDispose]());
beforeEach(() => on.restore());

async function list(filter: ListFilter = {}, limit: number | null = null, stores = on.stores): Promise<Listing> {
  const trusted = [await on.signer.publicKeyPem(never)];
  const records = new Records({ cluster: on.shelf.deps.cluster, stores, trusted, signer: null });
  const catalogue = await on.shelf.catalogue(stores);
  return await listSnapshots({ catalogue, records, clock: { now: () => new Date() } }, filter, limit, never);
}
const idsOf = ({ snapshots }: Listing): string[] => snapshots.map(({ snapshot }) => snapshot);

describe('a listing', () => {
  it('is newest first, with purpose, size, proofs and hold', async () => {
    const { snapshots, more, failures } = await list();
    expect([more, failures]).toEqual([0, []]);
    expect(snapshots.map(({ snapshot }) => snapshot)).toEqual(ids);
    expect(snapshots).toMatchObject([
      { purpose: 'safety', proof: 'none', hold: null, destinations: ['a', 'b'] },
      { purpose: 'backup', proof: 'good', proofs: [{ destination: 'a', verdict: 'good', level: 'archive' }] },
      { purpose: 'backup', proof: 'none', error: null },
      { purpose: 'backup', proof: 'none', hold: { who: 'ana' } },
    ]);
    expect(snapshots.every(({ bytes }) => bytes !== null && bytes > 1000)).toBe(true);
  });

  it.each<[string, ListFilter, number[]]>([
    ['backups', { purpose: 'backup' }, [1, 2, 3]],
    ['what a restore kept', { purpose: 'safety' }, [0]],
    ['what is proven', { proof: 'proven' }, [1]],
    ['what is not', { proof: 'unproven' }, [0, 2, 3]],
    ['what is proven in a', { proof: 'proven', destinations: ['a'] }, [1]],
    ['what is proven in b', { proof: 'proven', destinations: ['b'] }, []],
    ['what is held', { isHeld: true }, [3]],
    ['proven backups that are held', { isHeld: true, proof: 'proven' }, []],
  ])('shows %s', async (_name, filter, expected) => {
    expect(idsOf(await list(filter))).toEqual(expected.map((i) => ids[i]));
  });

  it('takes times with both ends, to the millisecond', async () => {
    const [time, later] = [snapshotTime(ids[2] as SnapshotId), snapshotTime(ids[1] as SnapshotId)];
    expect(idsOf(await list({ since: time, until: later }))).toEqual([ids[1], ids[2]]);
    const inside = { since: new Date(time.getTime() + 1), until: new Date(later.getTime() - 1) };
    expect(idsOf(await list(inside))).toEqual([]);
    expect(idsOf(await list({ since: time }))).toEqual(ids.slice(0, 3));
    expect(idsOf(await list({ until: time }))).toEqual(ids.slice(2));
  });

  it('has what a destination has', async () => {
    await on.remove('manifests', ids[2] as SnapshotId, ['b']);
    expect(idsOf(await list({ destinations: ['b'] }))).toEqual([ids[0], ids[1], ids[3]]);
    expect((await list()).snapshots[2]).toMatchObject({ destinations: ['a'] });
  });

  it('opens what is shown, and nothing behind it', async () => {
    const opened: string[] = [];
    const watched = on.stores.map((store) => watch(store, (key) => opened.push(key)));
    const { snapshots, more } = await list({}, 2, watched);
    expect([snapshots.length, more]).toEqual([2, 2]);
    const manifests = opened.filter((key) => key.includes('/manifests/')).map((key) => key.slice(-31, -5));
    expect([...new Set(manifests)].sort()).toEqual(ids.slice(0, 2).sort());
    opened.length = 0;
    const catalogue = await on.shelf.catalogue(watched);
    const { entries } = await listNames({ catalogue }, {}, never);
    expect(entries.map(({ snapshot }) => snapshot)).toEqual(ids);
    expect(opened.filter((key) => !key.endsWith('/latest.json'))).toEqual([]);
  });

  it('passes over what a filter refuses until there are enough, and counts what is left', async () => {
    const { snapshots, more } = await list({ purpose: 'backup' }, 2);
    expect(snapshots.map(({ snapshot }) => snapshot)).toEqual([ids[1], ids[2]]);
    expect(more).toBe(1);
  });

  it('shows a refused manifest as refused, and never as proven', async () => {
    for (const place of ['a', 'b'] as const) await writeFile(on.path(place, 'manifests', ids[1] as SnapshotId), '{}');
    const { snapshots } = await list();
    expect(snapshots[1]).toMatchObject({ purpose: null, bytes: null, error: { code: 'E_SIGNATURE' }, proof: 'none' });
    expect(idsOf(await list({ purpose: 'backup' }))).toEqual([ids[2], ids[3]]);
  });

  it('goes on with one destination, and rejects without any', async () => {
    const break_ = async (place: 'a' | 'b'): Promise<void> => {
      await rm(on.folder(place), { recursive: true });
      await writeFile(on.folder(place), 'no folder');
    };
    await break_('a');
    const { snapshots, failures } = await list();
    // The proof was of the copy in a.
    expect(snapshots).toMatchObject([{ destinations: ['b'] }, { proof: 'none' }, {}, { hold: { who: 'ana' } }]);
    expect(failures).toMatchObject([{ code: 'E_STORE_BUCKET' }]);
    await break_('b');
    await expect(list()).rejects.toMatchObject({ code: 'E_STORE_BUCKET' });
    for (const place of ['a', 'b'] as const) await rm(on.folder(place));
  });
});

describe('a proof', () => {
  const write = async (change: Parameters<typeof proofOf>[2], signer = on.signer): Promise<void> => {
    const { cluster } = on.shelf.deps;
    const trusted = [await signer.publicKeyPem(never)];
    const { sha256 } = await (await on.shelf.catalogue(on.stores)).read(ids[1] as SnapshotId, never);
    const at = new Date(Date.now() + 60_000);
    const record = proofOf(cluster, ids[1] as SnapshotId, { proof: newRunId(at), manifestSha256: sha256, ...change });
    await new Records({ cluster, stores: on.stores, trusted, signer }).writeProof(record, never);
  };
  const proof = async (): Promise<unknown> => (await list()).snapshots[1]?.proof;

  it('that is newer and bad makes the snapshot bad, whatever the other copy is', async () => {
    await write({ verdict: 'bad', level: 'failed' });
    expect(await proof()).toBe('bad');
    await write({ destination: 'b' });
    expect(await proof()).toBe('bad');
    expect(idsOf(await list({ proof: 'proven' }))).toEqual([]);
    expect(idsOf(await list({ proof: 'proven', destinations: ['b'] }))).toEqual([ids[1]]);
  });

  it('that nobody trusted signed neither harms nor helps, and is told', async () => {
    const stranger = localSigner(generateSigningKey().privateKeyPem);
    await write({ verdict: 'bad', level: 'failed' }, stranger);
    expect(await proof()).toBe('good');
    expect((await list()).failures).toMatchObject([{ code: 'E_SIGNATURE' }]);
  });

  it('of another manifest counts for nothing', async () => {
    for (const place of ['a', 'b'] as const) {
      await rm(on.folder(place) + '/v1/prod/proofs', { recursive: true });
    }
    await write({ manifestSha256: 'b'.repeat(64) });
    expect(await proof()).toBe('none');
    await write({});
    expect(await proof()).toBe('good');
  });
});

describe('on the command line', () => {
  const cli = (...args: string[]) => ['snapshots', 'list', ...args, '--config', on.shelf.app.configFile];
  const options = () => ({ env: on.shelf.app.env });

  it('prints a table, and how many there are more', async () => {
    const all = await runCli(cli(), options());
    expect(all).toMatchObject({ code: 0, stderr: '' });
    const [titles, ...rows] = all.stdout.trimEnd().split('\n');
    expect(titles).toMatch(/^SNAPSHOT +TAKEN +PURPOSE +SIZE +PROOF +MARK +HELD +IN +NOT IN$/);
    expect(rows.map((row) => row.slice(0, 26))).toEqual(ids);
    expect(rows[1]).toMatch(/ backup .*iB {2}good 20\d\d-\d\d-\d\d in a +a, b$/);
    expect(rows[3]).toMatch(/ ana +a, b$/);
    const two = await runCli(cli('--limit', '2'), options());
    expect(two.stdout).toMatch(/\n\n2 older not shown: --limit <n>, --until <time> or --all\n$/);
    expect(await runJson(cli('--names-only', '--limit', '1'), options())).toEqual({
      cluster: 'prod',
      snapshots: [
        { snapshot: safety, createdAt: snapshotTime(safety).toISOString(), destinations: ['a', 'b'], missing: [] },
      ],
      more: 3,
      failures: [],
    });
  });

  it.each([
    [['--limit', '0'], 'write 1 or more'],
    [['--limit', '1.5'], 'write 1 or more'],
    [['--all', '--limit', '3'], '--all and --limit'],
    [['--proven', '--unproven'], '--proven and --unproven'],
    [['--names-only', '--held'], '--names-only and a filter'],
    [['--since', 'yesterday'], 'is not a time'],
    [['--since', '2027-01-02T00:00Z', '--until', '2027-01-01T00:00Z'], 'together make no sense'],
    [['--destination', 'c'], 'has no destination "c"'],
  ])('refuses %j', async (args, message) => {
    const refused = await runCli(cli(...args), options());
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toContain(message);
  });
});

/** The same store, telling what is opened in it. */
function watch(store: Store, onGet: (key: string) => void): Store {
  return new Proxy(store, {
    get(target, name): unknown {
      if (name === 'get') {
        return (...args: Parameters<Store['get']>) => {
          onGet(args[0]);
          return target.get(...args);
        };
      }
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
