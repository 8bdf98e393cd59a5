import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setImmediate as turn } from 'node:timers/promises';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DiffOptions, diffArchives, MAX_LISTED } from '../../../src/archive/diff.ts';
import { isRestoreChange } from '../../../src/archive/restore-changes.ts';
import type { Bytes } from '../../../src/core/flow.ts';
import * as build from '../../support/archive-builder.ts';

const FIXTURES = new URL('../../fixtures/archives/', import.meta.url);
const signal = new AbortController().signal;
const cluster: DiffOptions = { product: 'openbao', sealType: 'shamir', signal };

const core = build.coreRecords();
const archive = (records: build.TestRecord[], form: 'stored' | 'deflate' = 'stored') =>
  build.encodeArchive(build.sorted(records), { form });
const diff = (before: build.TestRecord[], after: build.TestRecord[], options: Partial<DiffOptions> = {}) =>
  diffArchives(build.chunked(archive(before)), build.chunked(archive(after), 999), { ...cluster, ...options });

describe('two archives of real servers', () => {
  it.each([
    ['2.6.2-shamir', 101],
    ['2.7.2-shamir', 101],
    ['2.7.2-static', 103],
  ])('OpenBao %s, before and after a restore', async (name, identical) => {
    const read = async (suffix: string) =>
      build.chunked(await readFile(new URL(`openbao-${name}${suffix}.snap`, FIXTURES)));
    const sealType = name.split('-')[1] ?? '';
    const result = await diffArchives(await read(''), await read('-restored'), { ...cluster, sealType });
    expect(result).toMatchObject({ identical, changed: 1, added: 1, unexpected: [], isFaithful: true });
    expect(result.allowed.every(({ key }) => /^core\/(lock|leader\/.+)$/.test(key))).toBe(true);
    // The other way round they are the same two archives; two clusters are not.
    expect(await diffArchives(await read('-restored'), await read(''), { ...cluster, sealType })).toMatchObject({
      isFaithful: true,
    });
  });

  it('of two clusters are not faithful', async () => {
    const read = async (name: string) => build.chunked(await readFile(new URL(`openbao-${name}.snap`, FIXTURES)));
    const result = await diffArchives(await read('2.7.2-shamir'), await read('2.6.2-shamir'), cluster);
    expect(result.isFaithful).toBe(false);
    expect(result.unexpectedCount).toBeGreaterThan(150);
  });
});

describe('what differs', () => {
  const base = [
    ...core,
    { key: 'logical/m/a', value: Buffer.from('one') },
    { key: 'logical/m/b', value: Buffer.from('two') },
  ];
  const changed = (key: string, value: Buffer, sealWrap = false) =>
    base.map((record) => (record.key === key ? { key, value, sealWrap } : record));

  it('is nothing between an archive and itself, packed otherwise', async () => {
    const result = await diffArchives(
      build.chunked(archive(base, 'deflate'), 10),
      build.chunked(archive(base)),
      cluster,
    );
    expect(result).toMatchObject({ identical: base.length, changed: 0, added: 0, removed: 0, isFaithful: true });
    expect([result.before.compression, result.after.compression]).toEqual(['deflate', 'stored']);
  });

  it.each([
    ['a changed value', changed('logical/m/a', Buffer.from('onE')), { kind: 'changed', key: 'logical/m/a' }],
    ['a longer value', changed('logical/m/a', Buffer.from('one ')), { kind: 'changed', key: 'logical/m/a' }],
    ['the seal_wrap mark', changed('logical/m/a', Buffer.from('one'), true), { kind: 'changed', key: 'logical/m/a' }],
    ['a removed record', base.filter(({ key }) => key !== 'logical/m/b'), { kind: 'removed', key: 'logical/m/b' }],
    ['an added record', [...base, { key: 'zzz', value: Buffer.from('x') }], { kind: 'added', key: 'zzz' }],
  ])('is found: %s', async (_, after, difference) => {
    const result = await diff(base, after);
    expect(result).toMatchObject({ unexpected: [difference], unexpectedCount: 1, allowedCount: 0, isFaithful: false });
    expect(result.identical + result.changed + result.removed).toBe(base.length);
    expect(result.identical + result.changed + result.added).toBe(after.length);
  });

  it('may be expected by the caller', async () => {
    const after = [...base, { key: 'sys/token/id/h1', value: Buffer.from('x') }];
    const result = await diff(base, after, { isExpected: ({ key }) => key.startsWith('sys/token/') });
    expect(result).toMatchObject({ isFaithful: true, allowed: [{ kind: 'added', key: 'sys/token/id/h1' }] });
  });

  it('is listed up to a limit, and counted beyond it', async () => {
    const many = Array.from({ length: MAX_LISTED + 10 }, (_, i) => ({ key: `zz/${i}`, value: Buffer.from('x') }));
    const result = await diff(base, [...base, ...many]);
    expect(result.unexpected).toHaveLength(MAX_LISTED);
    expect(result).toMatchObject({ unexpectedCount: many.length, added: many.length, isFaithful: false });
  });

  it('is looked for in lockstep: no side is read ahead of the other', async () => {
    const many = archive([
      ...core,
      ...Array.from({ length: 2000 }, (_, i) => ({ key: `z/${i}`, value: randomBytes(1000) })),
    ]);
    let pulled = 0;
    async function* fast(): Bytes {
      for await (const chunk of build.chunked(many, 1000)) {
        pulled += chunk.length;
        yield chunk;
      }
    }
    async function* slow(): Bytes {
      yield many.subarray(0, 1000);
      for (let turns = 0; turns < 100; turns += 1) await turn();
      expect(pulled).toBeLessThan(100_000);
      yield many.subarray(1000);
    }
    await expect(diffArchives(fast(), slow(), cluster)).resolves.toMatchObject({ isFaithful: true });
    pulled = 0;
    await expect(diffArchives(slow(), fast(), cluster)).resolves.toMatchObject({ isFaithful: true });
  });

  it('is what comparing two maps finds', async () => {
    const content = fc.dictionary(fc.stringMatching(/^x[a-c]{1,3}$/), fc.constantFrom('1', '2', '3'));
    await fc.assert(
      fc.asyncProperty(content, content, fc.integer({ min: 1, max: 3000 }), async (old, now, size) => {
        const records = (of: Record<string, string>) => [
          ...core,
          ...Object.entries(of).map(([key, text]) => ({ key, value: Buffer.from(text.repeat(200)) })),
        ];
        const result = await diffArchives(
          build.chunked(archive(records(old)), size),
          build.chunked(archive(records(now)), 4000 - size),
          cluster,
        );
        const expected = [...new Set([...Object.keys(old), ...Object.keys(now)])]
          .toSorted()
          .filter((key) => old[key] !== now[key])
          .map((key) => ({ key, kind: !(key in old) ? 'added' : !(key in now) ? 'removed' : 'changed' }));
        expect(result.unexpected.map(({ key, kind }) => ({ key, kind }))).toEqual(expected);
      }),
      { numRuns: 100 },
    );
  });
});

describe('no verdict', () => {
  const good = archive(core);

  it.each([
    ['the first is cut', good.subarray(0, -3), good],
    ['the second is cut', good, good.subarray(0, -3)],
    ['the second is a stump', good, good.subarray(0, 10)],
    ['the first has a wrong CRC', Buffer.concat([good.subarray(0, -8), Buffer.alloc(4), good.subarray(-4)]), good],
  ])('when %s', async (_, before, after) => {
    await expect(diffArchives(build.chunked(before, 100), build.chunked(after, 100), cluster)).rejects.toMatchObject({
      code: expect.stringMatching(/^E_SNAPSHOT_/) as unknown,
    });
  });

  it('when a source breaks while the other side waits for it; both are closed', async () => {
    const closed: string[] = [];
    const broken = new Error('connection reset');
    async function* source(name: string, bytes: Buffer, failure?: Error): Bytes {
      try {
        yield* build.chunked(bytes, 100);
        if (failure !== undefined) throw failure;
      } finally {
        closed.push(name);
      }
    }
    const large = archive([
      ...core,
      ...Array.from({ length: 500 }, (_, i) => ({ key: `z/${i}`, value: randomBytes(500) })),
    ]);
    await expect(
      diffArchives(source('before', large), source('after', good.subarray(0, 99), broken), cluster),
    ).rejects.toBe(broken);
    expect(closed.toSorted()).toEqual(['after', 'before']);
  });

  it('after an abort', async () => {
    const controller = new AbortController();
    const reason = new Error('stopped by hand');
    let pulled = 0;
    async function* stopping(): Bytes {
      yield good.subarray(0, 5000);
      controller.abort(reason);
      for await (const chunk of build.chunked(good.subarray(5000), 100)) {
        pulled += 1;
        yield chunk;
      }
    }
    const stopped = diffArchives(stopping(), build.chunked(good), { ...cluster, signal: controller.signal });
    await expect(stopped).rejects.toBe(reason);
    expect(pulled).toBeLessThanOrEqual(1);
  });

  it('takes an archive without sealed sums: that of a drill', async () => {
    const sanitised = build.encodeGzip(build.encodeTar(build.goodMembers(build.encodeState(core)).slice(0, 3)));
    await expect(diffArchives(build.chunked(sanitised), build.chunked(good), cluster)).resolves.toMatchObject({
      isFaithful: true,
      before: { seal: { sealedSums: 'absent' } },
    });
  });
});

describe('what a restore itself changes', () => {
  it.each([
    ['changed', 'core/lock', 'openbao', 'shamir', true],
    ['added', 'core/leader/de602dd6', 'vault', 'shamir', true],
    ['removed', 'core/leader/de602dd6', 'openbao', 'shamir', true],
    ['added', 'core/audit', 'vault', 'awskms', true],
    ['removed', 'core/audit', 'vault', 'awskms', false],
    ['changed', 'core/keyring', 'openbao', 'shamir', true],
    ['changed', 'core/keyring', 'vault', 'shamir', false],
    ['removed', 'core/keyring', 'openbao', 'shamir', false],
    ['changed', 'core/cluster/feature-flags', 'vault', 'shamir', true],
    ['changed', 'core/cluster/feature-flags', 'openbao', 'shamir', false],
    ['changed', 'core/hsm/barrier-unseal-keys', 'vault', 'awskms', true],
    ['changed', 'core/hsm/barrier-unseal-keys', 'vault', 'shamir', false],
    ['added', 'core/versions/2.7.2', 'openbao', 'shamir', true],
    ['removed', 'core/versions/2.7.2', 'openbao', 'shamir', false],
    ['changed', 'core/seal-config', 'openbao', 'awskms', false],
    ['changed', 'sys/policy/default', 'openbao', 'shamir', false],
    ['changed', 'namespaces/x/core/lock', 'openbao', 'shamir', false],
  ] as const)('%s %s on %s with %s: %s', (kind, key, product, sealType, expected) => {
    expect(isRestoreChange({ kind, key }, { product, sealType })).toBe(expected);
  });
});
