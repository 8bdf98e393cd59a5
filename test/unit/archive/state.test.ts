import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { readArchive } from '../../../src/archive/read.ts';
import { StateReader } from '../../../src/archive/state.ts';
import * as build from '../../support/archive-builder.ts';
import { refusal } from './refusal.ts';

type Seen = { key: string; value: Buffer; valueBytes: number; sealWrap: boolean };

function read(state: Buffer, chunk: number, maxValueBytes: number | null = 1 << 20): Seen[] {
  const seen: Seen[] = [];
  const reader = new StateReader(state.length, maxValueBytes, ({ key, value, valueBytes, sealWrap }) => {
    seen.push({ key, value: Buffer.from(value), valueBytes, sealWrap });
  });
  for (let at = 0; at < state.length; at += chunk) reader.push(state.subarray(at, at + chunk));
  reader.end();
  return seen;
}

const records: build.TestRecord[] = [
  { key: 'a', value: randomBytes(5) },
  { key: 'b', value: randomBytes(300), sealWrap: true },
  { key: 'c/empty', value: Buffer.alloc(0) },
  { key: 'c/empty/wrapped', value: Buffer.alloc(0), sealWrap: true },
  { key: `d/${'long'.repeat(5000)}`, value: randomBytes(200_000), sealWrap: true },
  { key: 'e', value: randomBytes(100_000) },
  { key: 'é', value: randomBytes(1) },
];

describe('records', () => {
  it.each([1, 2, 13, 4096, 65_536, 1 << 20])('come whole, however they are cut (chunks of %i)', (chunk) => {
    const seen = read(build.encodeState(records), chunk);
    expect(seen).toHaveLength(records.length);
    for (const [i, record] of records.entries()) {
      const one = seen[i];
      expect([one?.key, one?.sealWrap, one?.valueBytes]).toEqual([
        record.key,
        record.sealWrap === true,
        record.value.length,
      ]);
      expect(one?.value.equals(record.value)).toBe(true);
    }
  });

  it.each([1, 13, 65_536, 1 << 20])(
    'are counted without being held when nobody asks for values (chunks of %i)',
    (chunk) => {
      const seen = read(build.encodeState(records), chunk, null);
      expect(seen.map((one) => [one.key, one.valueBytes, one.sealWrap])).toEqual(
        records.map((record) => [record.key, record.value.length, record.sealWrap === true]),
      );
      for (const [i, record] of records.entries()) {
        const kept = seen[i]?.value ?? Buffer.alloc(0);
        expect(kept.equals(record.value.subarray(0, kept.length))).toBe(true);
      }
    },
  );

  // The head that is kept ends at 48 KiB: value, end of value and seal_wrap mark on both sides of that.
  it.each([1, 4096])('may end anywhere around the part that is kept (chunks of %i)', (chunk) => {
    for (let bytes = 49_138; bytes < 49_152; bytes += 1) {
      for (const sealWrap of [false, true]) {
        const state = build.encodeState([
          { key: 'k', value: Buffer.alloc(bytes, 7), sealWrap },
          { key: 'l', value: Buffer.from('x') },
        ]);
        const seen = read(state, chunk, null);
        expect(seen.map((one) => [one.key, one.valueBytes, one.sealWrap])).toEqual([
          ['k', bytes, sealWrap],
          ['l', 1, false],
        ]);
      }
    }
  });
});

describe('what is no record', () => {
  const entry = (content: Buffer) => Buffer.concat([build.uvarint(content.length), content]);
  const key = (text: string) => build.encodeField(1, Buffer.from(text));
  const bad: [string, Buffer][] = [
    ['a length of zero', Buffer.from([0])],
    ['a length that goes on for ever', Buffer.alloc(12, 0xff)],
    ['a length with a superfluous byte', Buffer.concat([Buffer.from([0x85, 0x00]), key('abc')])],
    ['a length past MaxInt32', build.uvarint(2 ** 31)],
    ['a length past the end', Buffer.concat([build.uvarint(100), key('abc')])],
    ['no key', entry(build.encodeField(2, Buffer.from('value')))],
    ['an empty key', entry(key(''))],
    ['a key past the record', entry(Buffer.from([0x0a, 99, 1, 2]))],
    ['a key of no UTF-8', entry(build.encodeField(1, Buffer.from([0xff, 0xfe])))],
    [
      'a value that leaves room',
      entry(Buffer.concat([key('a'), build.encodeField(2, Buffer.from('v')), Buffer.from([0])])),
    ],
    ['a value past the record', entry(Buffer.concat([key('a'), Buffer.from([0x12, 9, 1])]))],
    ['an empty value written out', entry(Buffer.concat([key('a'), Buffer.from([0x12, 0])]))],
    ['an unknown field', entry(Buffer.concat([key('a'), Buffer.from([0x20, 1])]))],
    ['many bytes of an unknown field', entry(Buffer.concat([key('a'), build.encodeField(4, Buffer.alloc(60_000))]))],
    [
      'seal_wrap of 2',
      entry(Buffer.concat([key('a'), build.encodeField(2, Buffer.from('v')), Buffer.from([0x18, 2])])),
    ],
    ['a length cut off', Buffer.from([0x80])],
    ['a record cut off', entry(key('abcdef')).subarray(0, 5)],
  ];

  it.each(bad)('is refused: %s', (_, state) => {
    for (const chunk of [1, 1000, 1 << 20]) {
      for (const limit of [null, 1 << 20]) {
        expect(() => read(state, chunk, limit)).toThrow(expect.objectContaining({ code: 'E_SNAPSHOT_FORMAT' }));
      }
    }
  });

  it.each([
    ['twice the same key', ['a', 'b', 'b'], 'has the key of the record before it'],
    ['keys out of order', ['b', 'a'], 'sorts before'],
    // UTF-16 would put the second of these first; bolt compares bytes.
    ['keys in the order of JavaScript strings', ['\u{1F600}', '\uFB00'], 'sorts before'],
  ])('is refused: %s', (_, keys, message) => {
    const state = build.encodeState(keys.map((one) => ({ key: one, value: randomBytes(3) })));
    expect(() => read(state, 1000)).toThrow(message);
  });

  const core = build.encodeState(build.coreRecords());
  const followed = (...bytes: number[]) =>
    refusal(build.encodeGzip(build.encodeTar(build.goodMembers(Buffer.concat([core, Buffer.from(bytes)])))));

  it('is told as soon as it claims more than there is, and at the end when even its length is cut off', async () => {
    expect((await followed(100, 0x0a, 1)).message).toContain('claims 100 bytes of the 2 left');
    expect((await followed(0x80)).message).toContain('is cut off at the end of state.bin');
  });

  it('is named by number and offset', async () => {
    const e = await followed(0);
    expect(e.message).toBe(
      `record ${build.coreRecords().length + 1} of state.bin, at byte ${core.length}, claims 0 bytes`,
    );
    expect(e.details).toMatchObject({ member: 'state.bin', offset: core.length });
  });
});

describe('memory', () => {
  it('is not spent on a length that is only claimed', () => {
    for (const limit of [null, 2 ** 31]) {
      const before = process.memoryUsage().arrayBuffers;
      const reader = new StateReader(2 ** 31 + 10, limit, () => undefined);
      reader.push(
        Buffer.concat([build.uvarint(2 ** 31 - 1), build.encodeField(1, Buffer.from('key')), Buffer.alloc(1000, 0x12)]),
      );
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20);
      expect(() => reader.end()).toThrow('cut off');
    }
  });

  it('is limited when values are asked for', async () => {
    const records = build.sorted([...build.coreRecords(), { key: 'zz', value: Buffer.alloc(300_000) }]);
    const archive = build.encodeArchive(records);
    await expect(readArchive(build.chunked(archive))).resolves.toMatchObject({ product: 'openbao' });
    const limited = { onRecord: () => undefined, limits: { maxRecordBytes: 200_000 } };
    expect(await refusal(archive, limited)).toMatchObject({ code: 'E_SNAPSHOT_FORMAT', details: { length: 300_008 } });
    await expect(
      readArchive(build.chunked(archive), { ...limited, limits: { maxRecordBytes: 300_000 } }),
    ).resolves.toMatchObject({ product: 'openbao' });
  });
});

describe('the records that no cluster can be opened without', () => {
  const without = (key: string, sealType = 'shamir') =>
    build.encodeArchive(build.coreRecords('openbao', sealType, 'key').filter((record) => record.key !== key));

  it.each(['core/keyring', 'core/seal-config', 'core/root-key'])('%s', async (key) => {
    expect(await refusal(without(key))).toMatchObject({
      code: 'E_SNAPSHOT_FORMAT',
      message: expect.stringContaining(key) as unknown,
    });
  });

  it('core/hsm/barrier-unseal-keys under an auto seal; very old Shamir clusters have none', async () => {
    const key = 'core/hsm/barrier-unseal-keys';
    expect((await refusal(without(key, 'awskms'))).message).toContain(key);
    await expect(readArchive(build.chunked(without(key)))).resolves.toMatchObject({ seal: { type: 'shamir' } });
  });

  it.each([
    ['core/seal-config', Buffer.from('{"type":')],
    ['core/seal-config', Buffer.from('{"type":"shamir"}')],
    ['core/seal-config', Buffer.from('null')],
    // A manifest could not hold these: taken here, the backup would be signed, stored, and read by nobody.
    ['core/seal-config', build.sealConfig('shamir', -1, 2)],
    ['core/seal-config', build.sealConfig('shamir', 3, 1.5)],
    ['core/seal-config', build.sealConfig('shamir', 2 ** 53, 2)],
    ['core/hsm/barrier-unseal-keys', Buffer.from('no protobuf, but text')],
    ['core/keyring', Buffer.alloc(4)],
  ])('%s with %s', async (key, value) => {
    const records = build.coreRecords().map((record) => (record.key === key ? { key, value } : record));
    expect(await refusal(build.encodeArchive(records))).toMatchObject({ code: 'E_SNAPSHOT_FORMAT' });
  });
});
