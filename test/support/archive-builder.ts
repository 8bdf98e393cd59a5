/**
 * Builds raft snapshot archives layer by layer: records → state.bin → members → tar → gzip. Each layer takes what the
 * next one needs, so a test damages exactly one of them. The streamed form makes gigabytes in flat memory.
 */
import { createHash, randomBytes } from 'node:crypto';
import { crc32, createDeflateRaw, deflateRawSync } from 'node:zlib';
import type { Bytes } from '../../src/core/flow.ts';

export type TestRecord = { key: string; value: Uint8Array; sealWrap?: boolean };
export type TestMember = { name: string; content: Buffer };

const BLOCK = 512;
/** Go's writer puts no more into one stored block */
const STORED_BLOCK = 65_535;
const MTIME = 1_795_315_197;

export function uvarint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  return Buffer.from([...bytes, rest]);
}

export function encodeField(number: number, content: Uint8Array): Buffer {
  return Buffer.concat([uvarint(number * 8 + 2), uvarint(content.length), content]);
}

/** `uvarint(length)` + StorageEntry */
export function encodeRecord(record: TestRecord): Buffer {
  const entry = Buffer.concat([
    encodeField(1, Buffer.from(record.key)),
    record.value.length === 0 ? Buffer.alloc(0) : encodeField(2, record.value),
    record.sealWrap === true ? Buffer.from([0x18, 1]) : Buffer.alloc(0),
  ]);
  return Buffer.concat([uvarint(entry.length), entry]);
}

/** A value as the barrier writes it: term, version 2, then noise. */
export function barrierValue(bytes = 80, term = 1): Buffer {
  const value = randomBytes(Math.max(bytes, 5));
  value.writeUInt32BE(term);
  value[4] = 2;
  return value;
}

/** go-kms-wrapping BlobInfo */
export function blobInfo(keyId = '', ciphertextBytes = 180): Buffer {
  const keyInfo = keyId === '' ? Buffer.alloc(0) : encodeField(3, Buffer.from(keyId));
  return Buffer.concat([encodeField(1, randomBytes(ciphertextBytes)), encodeField(5, keyInfo)]);
}

export function sealConfig(type = 'shamir', shares = 3, threshold = 2): Buffer {
  return Buffer.from(
    JSON.stringify({ type, secret_shares: shares, secret_threshold: threshold, nonce: '', backup: false }),
  );
}

const MOUNT = '04ab6746-90cd-851d-4628-53e149899abc';

/** The least that either product cannot do without, and one of its mounts. Sorted. */
export function coreRecords(product: 'openbao' | 'vault' = 'openbao', sealType = 'shamir', keyId = ''): TestRecord[] {
  const table = product === 'openbao' ? `core/mounts/${MOUNT}` : 'core/mounts';
  const records = [
    { key: 'core/hsm/barrier-unseal-keys', value: blobInfo(keyId, 76) },
    { key: 'core/keyring', value: barrierValue(428) },
    { key: product === 'openbao' ? 'core/root-key' : 'core/master', value: barrierValue(147) },
    { key: 'core/seal-config', value: sealType === 'shamir' ? sealConfig() : sealConfig(sealType, 1, 1) },
    { key: table, value: barrierValue(364) },
    { key: product === 'openbao' ? 'core/versions/2.7.2' : 'core/versions/1.21.4', value: barrierValue(141) },
    { key: `logical/${MOUNT}/app/1`, value: barrierValue(46) },
    { key: 'sys/policy/default', value: barrierValue(2696) },
  ];
  if (product === 'vault') records.push({ key: 'core/cluster/feature-flags', value: barrierValue() });
  return sorted(records);
}

export function sorted(records: TestRecord[]): TestRecord[] {
  return records.toSorted((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
}

export function encodeState(records: Iterable<TestRecord>): Buffer {
  return Buffer.concat([...records].map(encodeRecord));
}

export function metaJson(stateBytes: number, changes: Record<string, unknown> = {}): Buffer {
  const meta = {
    Version: 1,
    ID: 'bolt-snapshot',
    Index: 98,
    Term: 3,
    Peers: null,
    Configuration: {
      Servers: [
        { Suffrage: 0, ID: 'n1', Address: '127.0.0.1:8201' },
        { Suffrage: 1, ID: 'n2', Address: '127.0.0.2:8201' },
      ],
    },
    ConfigurationIndex: 33,
    Size: stateBytes,
    ...changes,
  };
  return Buffer.from(`${JSON.stringify(meta)}\n`);
}

export function sha256Sums(members: TestMember[]): Buffer {
  return Buffer.from(members.map(({ name, content }) => `${sha256(content)}  ${name}\n`).join(''));
}

/** The four members of a good archive. */
export function goodMembers(state: Buffer, sealed: Buffer = blobInfo()): TestMember[] {
  const hashed = [
    { name: 'meta.json', content: metaJson(state.length) },
    { name: 'state.bin', content: state },
  ];
  return [
    ...hashed,
    { name: 'SHA256SUMS', content: sha256Sums(hashed) },
    { name: 'SHA256SUMS.sealed', content: sealed },
  ];
}

export function tarHeader(name: string, bytes: number, changes: { type?: string; link?: string } = {}): Buffer {
  const header = Buffer.alloc(BLOCK);
  header.write(name, 0, 'latin1');
  for (const [at, field] of ['0000600', '0000000', '0000000'].entries()) header.write(field, 100 + 8 * at, 'latin1');
  header.write(bytes.toString(8).padStart(11, '0'), 124, 'latin1');
  header.write(MTIME.toString(8).padStart(11, '0'), 136, 'latin1');
  header.write(changes.type ?? '0', 156, 'latin1');
  header.write(changes.link ?? '', 157, 'latin1');
  header.write('ustar\x0000', 257, 'latin1');
  header.write('0000000', 329, 'latin1');
  header.write('0000000', 337, 'latin1');
  return withTarSum(header);
}

/** The header with its checksum made right again. */
export function withTarSum(header: Buffer): Buffer {
  header.fill(' ', 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

export function padding(bytes: number): Buffer {
  return Buffer.alloc((BLOCK - (bytes % BLOCK)) % BLOCK);
}

export function encodeTar(members: TestMember[], end: Buffer = Buffer.alloc(2 * BLOCK)): Buffer {
  const parts = members.flatMap(({ name, content }) => [
    tarHeader(name, content.length),
    content,
    padding(content.length),
  ]);
  return Buffer.concat([...parts, end]);
}

export type GzipOptions = {
  /** `stored` as OpenBao 2.6, `stored-fixed` as OpenBao 2.7 (another end block), `deflate` as Vault */
  form?: 'stored' | 'stored-fixed' | 'deflate';
  header?: Buffer;
  footer?: Buffer;
  behind?: Buffer;
};

const GZIP_HEADER = Buffer.from('1f8b08000000000000ff', 'hex');
const FINAL_STORED = Buffer.from('010000ffff', 'hex');
const FINAL_FIXED = Buffer.from('0300', 'hex');

export function gzipFooter(crc: number, bytes: number): Buffer {
  const footer = Buffer.alloc(8);
  footer.writeUInt32LE(crc, 0);
  footer.writeUInt32LE(bytes % 2 ** 32, 4);
  return footer;
}

export function storedBlock(content: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt16LE(content.length, 1);
  head.writeUInt16LE(content.length ^ 0xffff, 3);
  return Buffer.concat([head, content]);
}

export function encodeGzip(tar: Buffer, options: GzipOptions = {}): Buffer {
  const { form = 'stored', header = GZIP_HEADER, footer = gzipFooter(crc32(tar), tar.length) } = options;
  const blocks: Buffer[] = [];
  if (form === 'deflate') {
    blocks.push(deflateRawSync(tar));
  } else {
    for (let at = 0; at < tar.length; at += STORED_BLOCK) blocks.push(storedBlock(tar.subarray(at, at + STORED_BLOCK)));
    blocks.push(form === 'stored' ? FINAL_STORED : FINAL_FIXED);
  }
  return Buffer.concat([header, ...blocks, footer, options.behind ?? Buffer.alloc(0)]);
}

/** A whole good archive of these records. */
export function encodeArchive(records: Iterable<TestRecord> = coreRecords(), options: GzipOptions = {}): Buffer {
  return encodeGzip(encodeTar(goodMembers(encodeState(records))), options);
}

/** `buffer` in chunks of `size`. */
export async function* chunked(buffer: Uint8Array, size = 64 * 1024): Bytes {
  for (let at = 0; at < buffer.length; at += size) yield buffer.subarray(at, at + size);
}

/**
 * A good archive of any size, made while it is read: `coreRecords()` and `count` records with values of `valueBytes`.
 * The values are cut out of one block of noise; `records` is run through twice.
 */
export function streamArchive(count: number, valueBytes: number, form: 'stored' | 'deflate' = 'stored'): Bytes {
  const noise = randomBytes(1024 * 1024 + valueBytes);
  const core = coreRecords(form === 'stored' ? 'openbao' : 'vault');
  function* records(): Generator<Buffer> {
    for (const record of core) if (record.key < 'logical/') yield encodeRecord(record);
    for (let i = 0; i < count; i += 1) {
      const value = noise.subarray((i * 4099) % (1024 * 1024)).subarray(0, valueBytes);
      yield encodeRecord({ key: `logical/${MOUNT}/app/${i.toString().padStart(10, '0')}`, value });
    }
  }
  return gzipStream(() => tarStream(records), form);
}

async function* tarStream(records: () => Iterable<Buffer>): Bytes {
  const hash = createHash('sha256');
  let stateBytes = 0;
  for (const record of records()) stateBytes += record.length;
  const meta = metaJson(stateBytes);
  yield tarHeader('meta.json', meta.length);
  yield meta;
  yield padding(meta.length);
  yield tarHeader('state.bin', stateBytes);
  for (const record of records()) {
    hash.update(record);
    yield record;
  }
  yield padding(stateBytes);
  const sums = Buffer.from(`${hash.digest('hex')}  state.bin\n${sha256(meta)}  meta.json\n`);
  yield encodeTar([
    { name: 'SHA256SUMS', content: sums },
    { name: 'SHA256SUMS.sealed', content: blobInfo() },
  ]);
}

async function* gzipStream(tar: () => Bytes, form: 'stored' | 'deflate'): Bytes {
  let crc = 0;
  let bytes = 0;
  async function* counted(): AsyncGenerator<Buffer> {
    for await (const piece of blocksOf(tar())) {
      crc = crc32(piece, crc);
      bytes += piece.length;
      yield piece;
    }
  }
  yield GZIP_HEADER;
  if (form === 'stored') {
    for await (const piece of counted()) yield storedBlock(piece);
    yield FINAL_STORED;
  } else {
    const deflate = createDeflateRaw();
    const fed = (async () => {
      for await (const piece of counted()) {
        if (!deflate.write(piece)) await new Promise((resolve) => deflate.once('drain', resolve));
      }
      deflate.end();
    })();
    yield* deflate as AsyncIterable<Uint8Array>;
    await fed;
  }
  yield gzipFooter(crc, bytes);
}

async function* blocksOf(source: Bytes): AsyncGenerator<Buffer> {
  let parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of source) {
    parts.push(piece);
    bytes += piece.length;
    if (bytes < STORED_BLOCK) continue;
    const all = Buffer.concat(parts);
    const rest = all.length % STORED_BLOCK;
    for (let at = 0; at < all.length - rest; at += STORED_BLOCK) yield all.subarray(at, at + STORED_BLOCK);
    parts = [all.subarray(all.length - rest)];
    bytes = rest;
  }
  if (bytes > 0) yield Buffer.concat(parts);
}

function sha256(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}
