/**
 * Archives that somebody built anew: every checksum is right, what is inside is generated. A reader cannot tell a forged
 * archive from a real one, that is for the signature; but what it takes is exactly what was put in, and what it refuses is
 * refused by name.
 */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readArchive } from '../../../src/archive/read.ts';
import { archiveRecord } from '../../../src/catalogue/archive-record.ts';
import { manifestSchema } from '../../../src/catalogue/manifest.ts';
import { isError } from '../../../src/core/errors.ts';
import * as build from '../../support/archive-builder.ts';

const MEMBERS = ['meta.json', 'state.bin', 'SHA256SUMS', 'SHA256SUMS.sealed', 'other', '../state.bin'];
const CODES = ['E_SNAPSHOT_TRUNCATED', 'E_SNAPSHOT_FORMAT', 'E_SNAPSHOT_CHECKSUM', 'E_SNAPSHOT_UNSEALED'];

const form = fc.constantFrom('stored', 'stored-fixed', 'deflate' as const);
const key = fc.oneof(
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }),
  fc
    .tuple(
      fc.constantFrom('sys/expire/id/', 'logical/', 'auth/', 'namespaces/', 'core/', 'core/versions/', 'audit/'),
      fc.string({ unit: 'grapheme', maxLength: 30 }),
      fc.constantFrom('', '/x', '/wal/1', '/static-role/r'),
    )
    .map((parts) => parts.join('')),
);
const records = fc
  .array(fc.record({ key, value: fc.uint8Array({ maxLength: 300 }), sealWrap: fc.boolean() }), { maxLength: 30 })
  .map((some) => {
    const byKey = new Map([...build.coreRecords(), ...some.map(wellFormed)].map((record) => [record.key, record]));
    for (const core of build.coreRecords()) byKey.set(core.key, core);
    return build.sorted([...byKey.values()]);
  });

function wellFormed(record: build.TestRecord): build.TestRecord {
  return { ...record, key: record.key.toWellFormed() };
}

async function read(
  archive: Buffer,
): Promise<{ report: Awaited<ReturnType<typeof readArchive>>; read: build.TestRecord[] }> {
  const found: build.TestRecord[] = [];
  const report = await readArchive(build.chunked(archive, 5000), {
    onRecord: (record) => found.push({ ...record, value: Buffer.from(record.value) }),
  });
  return { report, read: found };
}

async function code(archive: Buffer): Promise<string> {
  try {
    await read(archive);
    return 'taken';
  } catch (e) {
    if (isError(e)) return e.code;
    throw e;
  }
}

describe('an archive with right sums', () => {
  it('is read as the records that were put in, and a manifest can hold its report', async () => {
    await fc.assert(
      fc.asyncProperty(records, form, async (wanted, as) => {
        const { report, read: found } = await read(build.encodeArchive(wanted, { form: as }));
        const plain = (all: build.TestRecord[]) =>
          all.map((record) => [record.key, Buffer.from(record.value).toString('hex'), record.sealWrap === true]);
        expect(plain(found)).toEqual(plain(wanted));
        expect(report.state.records).toBe(wanted.length);
        const kept = JSON.parse(JSON.stringify(archiveRecord(report))) as unknown;
        expect(manifestSchema.shape.archive.safeParse(kept).error).toBeUndefined();
      }),
      { numRuns: 200 },
    );
  });

  it('is refused when its records are not in order, or one is there twice', async () => {
    await fc.assert(
      fc.asyncProperty(records, fc.nat(), fc.nat(), async (wanted, from, to) => {
        const taken = from % wanted.length;
        const moved = wanted[taken];
        if (moved === undefined) return;
        const without = wanted.toSpliced(taken, 1);
        const place = to % wanted.length;
        const twice = wanted.toSpliced(to % (wanted.length + 1), 0, moved);
        expect(await code(build.encodeArchive(twice))).toBe('E_SNAPSHOT_FORMAT');
        const shifted = without.toSpliced(place, 0, moved);
        expect(await code(build.encodeArchive(shifted))).toBe(place === taken ? 'taken' : 'E_SNAPSHOT_FORMAT');
      }),
      { numRuns: 100 },
    );
  });

  it('is refused with any other set of members than the right one', async () => {
    const good = build.goodMembers(build.encodeState(build.coreRecords()));
    const content = (name: string) => good.find((member) => member.name === name)?.content ?? Buffer.from('x');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(...MEMBERS), { maxLength: 6 }), form, async (names, as) => {
        const tar = build.encodeTar(names.map((name) => ({ name, content: content(name) })));
        const isRight = names.join() === MEMBERS.slice(0, 4).join();
        const outcome = await code(build.encodeGzip(tar, { form: as }));
        if (isRight) expect(outcome).toBe('taken');
        else expect(CODES).toContain(outcome);
      }),
      { numRuns: 300, examples: [[MEMBERS.slice(0, 4), 'stored']] },
    );
  });

  it('is refused by name whatever meta.json says, or taken with just that', async () => {
    const state = build.encodeState(build.coreRecords());
    const server = fc.record({ Suffrage: fc.integer({ min: -1, max: 3 }), ID: fc.string(), Address: fc.string() });
    const change = fc.oneof(
      fc.record({ Index: fc.oneof(fc.integer(), fc.double(), fc.string()) }),
      fc.record({ Term: fc.oneof(fc.maxSafeNat(), fc.constant(null)) }),
      fc.record({ ID: fc.jsonValue() }),
      fc.record({ Size: fc.oneof(fc.constant(state.length), fc.integer()) }),
      fc.record({ ConfigurationIndex: fc.jsonValue() }),
      fc.record({ Configuration: fc.oneof(fc.jsonValue(), fc.record({ Servers: fc.array(server) })) }),
    );
    let taken = 0;
    await fc.assert(
      fc.asyncProperty(change, async (changes) => {
        const meta = build.metaJson(state.length, changes);
        const hashed = [
          { name: 'meta.json', content: meta },
          { name: 'state.bin', content: state },
        ];
        const members = [
          ...hashed,
          { name: 'SHA256SUMS', content: build.sha256Sums(hashed) },
          { name: 'SHA256SUMS.sealed', content: build.blobInfo() },
        ];
        const archive = build.encodeGzip(build.encodeTar(members));
        const outcome = await code(archive);
        if (outcome !== 'taken') {
          expect(CODES).toContain(outcome);
          return;
        }
        taken += 1;
        const { raft } = (await read(archive)).report;
        const stated = JSON.parse(meta.toString()) as { Index: number; Term: number };
        expect([raft.index, raft.term]).toEqual([stated.Index, stated.Term]);
      }),
      { numRuns: 500 },
    );
    expect(taken).toBeGreaterThan(50);
  });
});
