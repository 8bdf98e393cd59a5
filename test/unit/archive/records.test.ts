import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { readArchive } from '../../../src/archive/read.ts';
import { classifyKey, laterVersion } from '../../../src/archive/records.ts';
import { MAX_GROUPS, Tally } from '../../../src/archive/tally.ts';
import * as build from '../../support/archive-builder.ts';

const UUID = '04ab6746-90cd-851d-4628-53e149899abc';
const NS = 'e6d48dc0-88ed-aa96-2d10-08d0f32447ec';

describe('classifyKey', () => {
  it.each([
    ['core/keyring', { area: 'core', kind: null, mount: null, namespace: null }],
    ['core/lock', { area: 'core', kind: 'active-node' }],
    ['core/leader/de602dd6', { kind: 'active-node' }],
    ['core/mounts', { kind: 'vault-table' }],
    [`core/mounts/${UUID}`, { kind: 'openbao-table' }],
    ['core/versions/2.7.2', { kind: 'version', name: '2.7.2' }],
    [`core/namespaces/${NS}`, { kind: 'namespace', name: NS }],
    [`namespaces/${NS}/core/namespaces/${UUID}`, { area: 'namespaces', kind: 'namespace', namespace: NS }],
    [`logical/${UUID}/app/1`, { area: 'logical', mount: `logical/${UUID}`, kind: null }],
    [`namespaces/${NS}/logical/${UUID}/one`, { area: 'namespaces', mount: `logical/${UUID}`, namespace: NS }],
    [`logical/${UUID}/static-role/app`, { kind: 'static-role' }],
    [`logical/${UUID}/wal/1f2e`, { kind: 'wal' }],
    [`logical/${UUID}/metadata/static-role/x`, { kind: null }],
    [`auth/${UUID}/user/ada`, { area: 'auth', mount: `auth/${UUID}`, kind: null }],
    ['sys/policy/default', { area: 'sys/policy', kind: 'policy' }],
    ['sys/token/id/h3064', { area: 'sys/token', kind: 'token' }],
    ['sys/token/accessor/8f8b', { area: 'sys/token', kind: null }],
    ['sys/token/salt', { kind: null }],
    ['sys/expire/id/pki/issue/web/WSbo', { area: 'sys/expire', kind: 'lease', name: 'pki/issue/web' }],
    [`namespaces/${NS}/sys/expire/id/db/creds/app/x`, { kind: 'lease', name: `namespaces/${NS}/db/creds/app` }],
    ['sys/expire/token/h5bd/0c3a', { area: 'sys/expire', kind: null }],
    [`audit/${UUID}/salt`, { area: 'audit', kind: 'audit', name: UUID }],
    ['raftchunking/12/0', { area: 'raftchunking', kind: null }],
    ['unknown', { area: 'unknown', kind: null }],
    ['namespaces/', { area: 'namespaces', namespace: null }],
  ])('%s', (key, expected) => {
    expect(classifyKey(key)).toMatchObject(expected);
  });
});

describe('laterVersion', () => {
  it.each([
    ['2.10.0', '2.9.9'],
    ['2.7.2', '2.7.2-beta1'],
    ['1.21.4', '1.9.0'],
    ['1.19.0+ent', '1.18.9+ent'],
    ['2.0.0', '1.99.99'],
    ['2.7.0-rc2', '2.7.0-rc1'],
  ])('%s is later than %s', (later, earlier) => {
    expect(laterVersion(later, earlier)).toBe(later);
    expect(laterVersion(earlier, later)).toBe(later);
  });
});

describe('the counts', () => {
  it('are those of the records', async () => {
    const value = build.barrierValue(60, 2);
    const records = build.sorted([
      ...build.coreRecords(),
      { key: `logical/${UUID}/static-role/a`, value },
      { key: `logical/${UUID}/static-roles/b`, value },
      { key: `logical/${UUID}/wal/1`, value },
      { key: 'sys/expire/id/db/creds/app/1', value },
      { key: 'sys/expire/id/db/creds/app/2', value },
      { key: 'sys/expire/id/auth/token/create/h1', value },
      { key: 'core/versions/2.10.0', value },
      { key: 'core/versions/2.9.0', value },
      { key: 'raftchunking/1/1', value },
      { key: 'core/lock', value: Buffer.from('de602dd6-bda1-5e3f-b9f8-b27f1c488f60') },
    ]);
    const { state, productVersion } = await readArchive(build.chunked(build.encodeArchive(records)));
    expect(state).toMatchObject({ staticRoles: 2, walEntries: 1, leaseCount: 3, policies: 1, records: records.length });
    expect(state.leases).toEqual([
      { path: 'db/creds/app', count: 2 },
      { path: 'auth/token/create', count: 1 },
    ]);
    expect(productVersion).toBe('2.10.0');
    // Neither raft's own leftovers nor what the barrier does not encrypt have a term.
    expect(state.terms).toEqual([
      { term: 1, records: 5 },
      { term: 2, records: 8 },
    ]);
    expect(state.areas.reduce((sum, area) => sum + area.records, 0)).toBe(records.length);
    expect(state.areas.reduce((sum, area) => sum + area.bytes, 0)).toBe(state.bytes);
  });

  it('know the product by its tables', async () => {
    const read = async (records: build.TestRecord[]) =>
      (await readArchive(build.chunked(build.encodeArchive(build.sorted(records))))).product;
    const vault = build.coreRecords('vault');
    expect(await read(vault)).toBe('vault');
    expect(await read(build.coreRecords('openbao'))).toBe('openbao');
    expect(await read([...vault, { key: `core/auth/${UUID}`, value: build.barrierValue() }])).toBe('openbao');
    const bare = vault.filter(({ key }) => key !== 'core/cluster/feature-flags' && !key.startsWith('core/versions/'));
    expect(await read(bare)).toBe('unknown');
    expect(await read(bare.filter(({ key }) => key !== 'core/mounts'))).toBe('unknown');
  });

  it('stay bounded: groups past the limit are counted together', () => {
    const tally = new Tally();
    const total = MAX_GROUPS + 500;
    for (let i = 0; i < total; i += 1) {
      const id = i.toString().padStart(8, '0');
      for (const key of [`logical/${id}/x`, `sys/expire/id/${id}/x`, `${id}/x`]) {
        tally.add({ offset: 0, key, value: Buffer.alloc(0), valueBytes: 0, sealWrap: false });
      }
    }
    const state = tally.state();
    expect(state.mounts).toHaveLength(MAX_GROUPS + 1);
    expect(state.mounts.find((mount) => mount.area === '(others)')?.records).toBe(500);
    expect(state.leaseCount).toBe(total);
    expect(state.leases).toHaveLength(1000);
    expect(state.leases[0]).toEqual({ path: '(others)', count: 500 });
    expect(state.areas.length).toBeLessThanOrEqual(MAX_GROUPS + 1);
    expect(state.areas.reduce((sum, area) => sum + area.records, 0)).toBe(3 * total);
  });

  // 3,000 names of 30,000 characters are 90 MB: as many as fit into an archive of a few hundred KB.
  it.each([
    'sys/expire/id/#/@/h',
    'sys/expire/id/auth/userpass/login/#/@',
    'logical/#@/x',
    '#@/x',
    'namespaces/#@/logical/u/x',
    'audit/#@',
  ])('stay small, whatever the length of the names: %s', (pattern) => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const tally = new Tally();
    collect();
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < 3000; i += 1) {
      // As out of an archive: a string of its own.
      const key = Buffer.from(pattern.replace('#', String(i)).replace('@', 'y'.repeat(30_000))).toString();
      tally.add({ offset: 0, key, value: Buffer.alloc(0), valueBytes: 0, sealWrap: false });
    }
    collect();
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(8 * 2 ** 20);
    expect(tally.state().records).toBe(3000);
  });

  it('cut long names at a whole character, and count what is alike in front together', () => {
    const tally = new Tally();
    for (const end of ['a', 'b', 'a']) {
      const key = `sys/expire/id/${'y'.repeat(199)}😀${end}/h`;
      tally.add({ offset: 0, key, value: Buffer.alloc(0), valueBytes: 0, sealWrap: false });
    }
    expect(tally.state().leases).toEqual([{ path: `${'y'.repeat(199)}\ufffd…`, count: 3 }]);
  });
});
