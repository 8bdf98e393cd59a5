import { describe, expect, it } from 'vitest';
import { readArchive } from '../../../src/archive/read.ts';
import * as build from '../../support/archive-builder.ts';
import { refusal } from './refusal.ts';

const members = build.goodMembers(build.encodeState(build.coreRecords()));
const tar = build.encodeTar(members);
const rest = tar.subarray(512 + 512);
const [meta] = members;
const metaBytes = meta?.content.length ?? 0;
const metaBody = tar.subarray(512, 1024);
/** The good tar with another first header; the checksum is right. */
const headed = (change: (header: Buffer) => void) => {
  const header = build.tarHeader('meta.json', metaBytes);
  change(header);
  return build.encodeGzip(Buffer.concat([build.withTarSum(header), metaBody, rest]));
};

describe('the tar', () => {
  it('is what the helper makes when nothing is changed', async () => {
    await expect(readArchive(build.chunked(headed(() => undefined)))).resolves.toMatchObject({ product: 'openbao' });
  });

  it.each([
    ['another magic', (h: Buffer) => h.write('ustar  ', 257)],
    ['a directory', (h: Buffer) => h.write('5', 156)],
    ['a symbolic link', (h: Buffer) => h.write('2', 156)],
    ['a link name', (h: Buffer) => h.write('target', 157)],
    ['a prefix', (h: Buffer) => h.write('dir', 345)],
    ['a size that is no number', (h: Buffer) => h.write('0000000018x', 124)],
    ['a size in base 256', (h: Buffer) => h.writeUInt8(0x80, 124)],
    ['bytes behind the name', (h: Buffer) => h.write('x', 50)],
  ])('refuses a header with %s', async (_, change) => {
    const e = await refusal(headed((header) => void change(header)));
    expect(e).toMatchObject({ code: 'E_SNAPSHOT_FORMAT', details: { tarOffset: expect.any(Number) as unknown } });
  });

  it('refuses a header that does not fit its checksum', async () => {
    const changed = Buffer.from(tar);
    changed[105] = 0x37;
    expect(await refusal(build.encodeGzip(changed))).toMatchObject({
      code: 'E_SNAPSHOT_CHECKSUM',
      message: expect.stringContaining('tar header') as unknown,
    });
  });

  it('refuses padding that is not zero', async () => {
    const changed = Buffer.from(tar);
    changed[1023] = 1;
    expect((await refusal(build.encodeGzip(changed))).message).toContain('padding behind meta.json');
  });

  it('wants two zero blocks at the end, and nothing behind', async () => {
    const none = await refusal(build.encodeGzip(build.encodeTar(members, Buffer.alloc(0))));
    expect(none).toMatchObject({ code: 'E_SNAPSHOT_TRUNCATED', message: 'the archive ends behind SHA256SUMS.sealed' });
    const one = await refusal(build.encodeGzip(build.encodeTar(members, Buffer.alloc(512))));
    expect(one).toMatchObject({ code: 'E_SNAPSHOT_TRUNCATED', message: 'the archive ends inside its end marker' });
    const three = await refusal(build.encodeGzip(build.encodeTar(members, Buffer.alloc(1536))));
    expect(three).toMatchObject({ code: 'E_SNAPSHOT_FORMAT', details: { bytesBehind: 512 } });
    const halfZero = Buffer.alloc(1024);
    halfZero[600] = 1;
    expect((await refusal(build.encodeGzip(build.encodeTar(members, halfZero)))).code).toBe('E_SNAPSHOT_FORMAT');
  });

  // Go states sizes of 8 GiB and more so; the form is the same for a small one.
  describe('with the size in an extended header', () => {
    const extended = (record: string, stated = 0) => {
      const [first, state, ...others] = members;
      if (first === undefined || state === undefined) throw new Error('no members');
      const body = Buffer.from(record);
      return build.encodeGzip(
        Buffer.concat([
          build.encodeTar([first], Buffer.alloc(0)),
          build.tarHeader('PaxHeaders.0/state.bin', body.length, { type: 'x' }),
          body,
          build.padding(body.length),
          build.tarHeader('state.bin', stated),
          state.content,
          build.padding(state.content.length),
          build.encodeTar(others),
        ]),
      );
    };
    const size = members[1]?.content.length ?? 0;
    const record = `${`13 size=${size}\n`.length} size=${size}\n`;

    it.each([1, 64, 65_536])('takes it (chunks of %i)', async (chunk) => {
      const report = await readArchive(build.chunked(extended(record), chunk));
      expect(report.members[1]).toMatchObject({ name: 'state.bin', bytes: size });
    });

    it('refuses another record, a wrong length, and a size stated twice', async () => {
      for (const archive of [
        extended('18 path=state.bin\n'),
        extended(record.replace(/^\d+/, '99')),
        extended(record, size),
        extended(`${record}${record}`),
      ]) {
        expect((await refusal(archive)).code).toBe('E_SNAPSHOT_FORMAT');
      }
    });
  });
});
