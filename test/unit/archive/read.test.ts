import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { readArchive } from '../../../src/archive/read.ts';
import * as build from '../../support/archive-builder.ts';
import { refusal } from './refusal.ts';

const FIXTURES = new URL('../../fixtures/archives/', import.meta.url);
const REAL = ['openbao-2.6.2-shamir', 'openbao-2.7.2-shamir', 'openbao-2.7.2-static'];
const real = (name: string) => readFile(new URL(`${name}.snap`, FIXTURES));

const state = build.encodeState(build.coreRecords());
const good = build.goodMembers(state);
const packed = (members: build.TestMember[]) => build.encodeGzip(build.encodeTar(members));
const member = (name: string) => good.find((one) => one.name === name) ?? { name, content: Buffer.alloc(0) };
/** the good archive with another content for one member */
const withMember = (name: string, content: Buffer) =>
  packed(good.map((one) => (one.name === name ? { name, content } : one)));

describe('archives of real servers', () => {
  it.each(REAL)('takes %s', async (name) => {
    const archive = await real(name);
    const report = await readArchive(build.chunked(archive), { hashArchive: true });
    expect(report).toMatchObject({ bytes: archive.length, compression: 'stored', product: 'openbao' });
    expect(report.productVersion).toBe(name.split('-')[1]);
    expect(report.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(report.members.map((one) => one.name)).toEqual([
      'meta.json',
      'state.bin',
      'SHA256SUMS',
      'SHA256SUMS.sealed',
    ]);
    expect(report.raft).toMatchObject({ term: 3, version: 1, id: 'bolt-snapshot' });
    expect(report.raft.servers).toEqual([{ id: 'n1', address: '127.0.0.1:18311', suffrage: 'voter' }]);
    // As make.sh made it: three certificates with leases, three tokens with one; three policies of our own and the
    // two of the server in each of three namespaces; two namespaces, one in the other.
    expect(report.state).toMatchObject({ leaseCount: 6, namespaces: 2, auditDevices: 1, namesActiveNode: true });
    expect(report.state.leases[0]).toEqual({ path: 'pki/issue/web', count: 3 });
    expect(report.state.policies).toBe(8);
    expect(report.state.terms.map(({ term }) => term)).toEqual([1, 2]);
    expect(new Date(report.writtenAt).getUTCFullYear()).toBe(2026);
  });

  it('tells the seals apart', async () => {
    const shamir = await readArchive(build.chunked(await real('openbao-2.7.2-shamir')));
    expect(shamir.seal).toEqual({
      type: 'shamir',
      shares: 3,
      threshold: 2,
      recovery: null,
      keyIds: [],
      sealedSums: 'present',
    });
    const auto = await readArchive(build.chunked(await real('openbao-2.7.2-static')));
    expect(auto.seal).toEqual({
      type: 'static',
      shares: 1,
      threshold: 1,
      recovery: { shares: 3, threshold: 2 },
      keyIds: ['throwaway-1'],
      sealedSums: 'present',
    });
  });

  it('gives every record once, in order, whole', async () => {
    const keys: string[] = [];
    let bytes = 0;
    const report = await readArchive(build.chunked(await real('openbao-2.7.2-shamir'), 777), {
      onRecord: ({ key, value }) => {
        keys.push(key);
        bytes += Buffer.byteLength(key) + value.length;
      },
    });
    expect(keys).toHaveLength(report.state.records);
    expect(keys).toEqual(keys.toSorted());
    expect(bytes).toBe(report.state.bytes);
  });

  it.each(REAL)('refuses %s without its last byte, and at every member boundary', async (name) => {
    const archive = await real(name);
    const tar = gunzipSync(archive);
    const cuts = [archive.length - 1];
    // Stored: the byte `at` of the tar stands 15 bytes further in the archive (headers of gzip and of the first block).
    for (let at = 0; at < tar.length; at += 512) {
      if (tar.toString('latin1', at + 257, at + 262) === 'ustar') cuts.push(at + 15, at + 15 + 100, at + 15 + 512);
    }
    expect(cuts.length).toBeGreaterThanOrEqual(13);
    for (const cut of cuts) {
      expect(await refusal(archive.subarray(0, cut))).toMatchObject({
        code: 'E_SNAPSHOT_TRUNCATED',
        details: { bytes: cut },
      });
    }
  });
});

describe('a Vault archive', () => {
  it('is told by its keys', async () => {
    const arn = 'arn:aws:kms:eu-central-1:111122223333:key/1234';
    const records = build.sorted([
      ...build.coreRecords('vault', 'awskms', arn),
      { key: 'core/recovery-config', value: build.sealConfig('shamir', 5, 3) },
    ]);
    const members = build.goodMembers(build.encodeState(records), build.blobInfo(arn, 168));
    const report = await readArchive(
      build.chunked(build.encodeGzip(build.encodeTar(members), { form: 'deflate' }), 50),
    );
    expect(report).toMatchObject({ product: 'vault', productVersion: '1.21.4', compression: 'deflate' });
    expect(report.seal).toEqual({
      type: 'awskms',
      shares: 1,
      threshold: 1,
      recovery: { shares: 5, threshold: 3 },
      keyIds: [arn],
      sealedSums: 'present',
    });
    expect(report.cautions.join('\n')).toContain(`opens only with the key ${arn}`);
  });
});

describe('where an archive ends too early', () => {
  it('names the member and the byte', async () => {
    const archive = packed(good);
    const at = archive.indexOf('logical/');
    const e = await refusal(archive.subarray(0, at));
    expect(e).toMatchObject({ code: 'E_SNAPSHOT_TRUNCATED', retryable: true });
    expect(e.message).toMatch(/^the archive ends inside state\.bin, after \d+ of \d+ bytes$/);
    expect(e.hint).toContain('seal');
  });

  it('says that the 10-byte stump is what a dead seal makes', async () => {
    const e = await refusal(packed(good).subarray(0, 10));
    expect(e).toMatchObject({ code: 'E_SNAPSHOT_TRUNCATED', details: { bytes: 10 } });
    expect(e.message).toContain('seal cannot reach its KMS');
    expect(e.hint).toContain('check the seal');
  });

  it('takes nothing and half a header for truncated too', async () => {
    expect(await refusal(Buffer.alloc(0))).toMatchObject({
      code: 'E_SNAPSHOT_TRUNCATED',
      message: 'the archive is empty',
    });
    expect((await refusal(packed(good).subarray(0, 4))).message).toContain('4 of the 10 bytes');
  });
});

describe('members', () => {
  it('takes the hash lines in either order', async () => {
    const turned = Buffer.from(
      `${member('SHA256SUMS').content.toString().trimEnd().split('\n').toReversed().join('\n')}\n`,
    );
    await expect(readArchive(build.chunked(withMember('SHA256SUMS', turned)))).resolves.toMatchObject({
      bytes: expect.any(Number) as unknown,
    });
  });

  it('refuses an unknown one, one twice and one out of its place', async () => {
    const foreign = { name: 'peers.json', content: Buffer.from('[]') };
    for (const members of [
      [...good, foreign],
      [foreign, ...good],
      [...good, member('SHA256SUMS')],
      [member('state.bin'), ...good.filter((one) => one.name !== 'state.bin')],
      good.toReversed(),
    ]) {
      const e = await refusal(packed(members));
      expect(e.code).toBe('E_SNAPSHOT_FORMAT');
      expect(e.message).toMatch(/unknown member|out of its place/);
    }
  });

  it('names an unknown one without giving a terminal anything to obey', async () => {
    const member = { name: 'a\u001b[2J\u007f\u009b2J\u00ad', content: Buffer.alloc(0) };
    const { message } = await refusal(packed([member]));
    expect(message).toBe(String.raw`the archive has an unknown member: "a\u001b[2J\u007f\u009b2J\u00ad"`);
  });

  it('refuses an archive that lacks one', async () => {
    for (const [kept, missing] of [
      [1, 'state.bin'],
      [2, 'SHA256SUMS'],
      [0, 'meta.json'],
    ] as const) {
      const e = await refusal(packed(good.slice(0, kept)));
      expect(e).toMatchObject({ code: 'E_SNAPSHOT_FORMAT', message: `the archive has no ${missing}` });
    }
  });

  it('refuses another size of state.bin than meta.json says', async () => {
    const meta = build.metaJson(state.length + 1);
    const hashed = [{ name: 'meta.json', content: meta }, member('state.bin')];
    const e = await refusal(
      packed([...hashed, { name: 'SHA256SUMS', content: build.sha256Sums(hashed) }, member('SHA256SUMS.sealed')]),
    );
    expect(e).toMatchObject({
      code: 'E_SNAPSHOT_CHECKSUM',
      details: { bytes: state.length, stated: state.length + 1 },
    });
  });

  it.each(['meta.json', 'state.bin'])('refuses a wrong hash of %s', async (name) => {
    const other = good.map((one) =>
      one.name === name ? { name, content: Buffer.from(`${one.content.toString()} `) } : one,
    );
    const e = await refusal(withMember('SHA256SUMS', build.sha256Sums(other.slice(0, 2))));
    expect(e).toMatchObject({ code: 'E_SNAPSHOT_CHECKSUM', details: { member: name } });
  });

  it.each([
    ['one line', (sums: string) => `${sums.split('\n')[0]}\n`],
    ['a third line', (sums: string) => `${sums}${sums.split('\n')[0]}\n`],
    ['no line end', (sums: string) => sums.trimEnd()],
    ['one space', (sums: string) => sums.replace('  ', ' ')],
    ['the same name twice', (sums: string) => sums.replace('meta.json', 'state.bin')],
    ['nothing', () => ''],
  ])('refuses SHA256SUMS with %s', async (_, change) => {
    const sums = Buffer.from(change(member('SHA256SUMS').content.toString()));
    expect((await refusal(withMember('SHA256SUMS', sums))).code).toBe('E_SNAPSHOT_FORMAT');
  });

  it.each(['meta.json', 'SHA256SUMS', 'SHA256SUMS.sealed'])(
    'refuses %s of 8192 bytes, as the server does',
    async (name) => {
      expect(await refusal(withMember(name, Buffer.alloc(8192, ' ')))).toMatchObject({
        code: 'E_SNAPSHOT_FORMAT',
        details: { member: name, bytes: 8192 },
      });
    },
  );

  it.each([
    ['no JSON', 'x'],
    ['no object', 'null'],
    ['index 0', build.metaJson(state.length, { Index: 0 }).toString()],
    ['term 0', build.metaJson(state.length, { Term: 0 }).toString()],
    ['no servers', build.metaJson(state.length, { Configuration: { Servers: [] } }).toString()],
    [
      'a server of suffrage 3',
      build.metaJson(state.length, { Configuration: { Servers: [{ Suffrage: 3, ID: 'a', Address: 'b' }] } }).toString(),
    ],
    ['a size as text', build.metaJson(state.length, { Size: '7' }).toString()],
    ['no id', build.metaJson(state.length, { ID: null }).toString()],
  ])('refuses meta.json with %s', async (_, json) => {
    expect((await refusal(withMember('meta.json', Buffer.from(json)))).code).toBe('E_SNAPSHOT_FORMAT');
  });
});

describe('SHA256SUMS.sealed', () => {
  const without = packed(good.slice(0, 3));

  it('must be there, unless that is allowed', async () => {
    expect(await refusal(without)).toMatchObject({ code: 'E_SNAPSHOT_UNSEALED', details: { bytes: null } });
    const report = await readArchive(build.chunked(without), { requireSealedSums: false });
    expect(report.seal.sealedSums).toBe('absent');
    expect(report.cautions).toContain('SHA256SUMS.sealed is absent: only for scratch clusters, by force');
  });

  it.each([
    ['empty', Buffer.alloc(0)],
    ['no protobuf', Buffer.from('not sealed at all, just text')],
    ['a ciphertext of 27 bytes, which crashes a Shamir Vault', build.blobInfo('', 27)],
    ['no ciphertext', build.encodeField(5, Buffer.alloc(0))],
    ['cut off', build.blobInfo('', 180).subarray(0, 100)],
  ])('must be usable: %s', async (_, sealed) => {
    const archive = withMember('SHA256SUMS.sealed', sealed);
    expect((await refusal(archive)).code).toBe('E_SNAPSHOT_UNSEALED');
    const report = await readArchive(build.chunked(archive), { requireSealedSums: false });
    expect(report.seal.sealedSums).toBe('unusable');
  });

  it('may have exactly 28 bytes of ciphertext', async () => {
    const report = await readArchive(build.chunked(withMember('SHA256SUMS.sealed', build.blobInfo('', 28))));
    expect(report.seal.sealedSums).toBe('present');
  });

  it('may be of several seals', async () => {
    const slots = Buffer.concat([
      Buffer.from([0x08, 7]),
      ...['key-a', 'key-b'].map((id) => build.encodeField(2, build.blobInfo(id))),
    ]);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(slots.length);
    const header = Buffer.from('multiwrapvalue:1');
    const report = await readArchive(
      build.chunked(withMember('SHA256SUMS.sealed', Buffer.concat([header, length, slots]))),
    );
    expect(report.seal).toMatchObject({ sealedSums: 'present', keyIds: ['key-a', 'key-b'] });
    length.writeUInt32BE(slots.length + 1);
    const wrong = withMember('SHA256SUMS.sealed', Buffer.concat([header, length, slots]));
    expect((await refusal(wrong)).code).toBe('E_SNAPSHOT_UNSEALED');
  });
});

describe('reading', () => {
  it.each([
    ['stored', 'openbao'],
    ['deflate', 'vault'],
  ] as const)('streams: twenty megabytes, %s', async (form, product) => {
    const report = await readArchive(build.streamArchive(20_000, 1000, form));
    expect(report).toMatchObject({ compression: form, product });
    expect(report.state.records).toBeGreaterThan(20_000);
    expect(report.state.bytes).toBeGreaterThan(20_000_000);
  });

  it('closes its source when it refuses', async () => {
    let isClosed = false;
    async function* source() {
      try {
        for (;;) yield Buffer.from('no gzip');
      } finally {
        isClosed = true;
      }
    }
    await expect(readArchive(source())).rejects.toMatchObject({ code: 'E_SNAPSHOT_FORMAT' });
    expect(isClosed).toBe(true);
  });

  it('passes the error of its source on, and that of onRecord', async () => {
    const broken = new Error('connection reset');
    await expect(
      readArchive(
        (async function* () {
          yield packed(good).subarray(0, 99);
          throw broken;
        })(),
      ),
    ).rejects.toBe(broken);
    await expect(
      readArchive(build.chunked(packed(good)), {
        onRecord: () => {
          throw broken;
        },
      }),
    ).rejects.toBe(broken);
  });
});
