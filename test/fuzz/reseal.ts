/**
 * Changes inside an archive whose checksums are made right again: without them every change ends at the first sum, and
 * what is behind it is never reached. Whoever can write to a bucket can do the same.
 */
import { deflateRawSync } from 'node:zlib';
import * as build from '../support/archive-builder.ts';
import { mutate } from './engine/mutate.ts';
import { changeJson } from './engine/mutate-json.ts';
import type { Random } from './engine/random.ts';
import { membersOf, type PlainMember, recordsOf, unpack } from './plain-archive.ts';

const MAX_MEMBER = 64 * 1024;
const HEADER_FIELDS = [0, 100, 124, 136, 148, 156, 157, 257, 345] as const;

/** A changed archive with right sums from the changed layer outwards; null when `archive` cannot be taken apart. */
export function reseal(archive: Buffer, random: Random, tokens: readonly Buffer[]): Buffer | null {
  let members: PlainMember[] | null;
  try {
    members = membersOf(unpack(archive));
  } catch {
    return null;
  }
  if (members === null || members.length === 0) return null;
  const blind = (bytes: Buffer): Buffer => mutate(bytes, archive, random, { tokens, maxBytes: MAX_MEMBER });
  const change = random.below(9);
  if (change === 8) return withFrame(pack(build.encodeTar(members), random), random);
  if (change === 0) return pack(blind(build.encodeTar(members)), random);
  if (change === 1) return pack(withHeaderField(build.encodeTar(members), random, blind), random);
  if (change === 2) return pack(build.encodeTar(reorder(members, random)), random);
  const names = ['meta.json', 'state.bin', 'SHA256SUMS', 'SHA256SUMS.sealed'];
  const name = change < 6 ? 'state.bin' : random.pick(names);
  const state = change < 5 ? (bytes: Buffer) => withRecords(bytes, random, blind) : blind;
  const changed = members.map((member) =>
    member.name === name
      ? { name, content: name === 'state.bin' ? state(member.content) : json(member.content, random, blind) }
      : member,
  );
  return pack(build.encodeTar(name === 'SHA256SUMS' ? changed : withSums(changed, name === 'state.bin')), random);
}

/** Size in meta.json (only after a change of the state: else the change may be the size) and both hashes. */
function withSums(members: PlainMember[], fixSize: boolean): PlainMember[] {
  const state = members.find(({ name }) => name === 'state.bin')?.content.length ?? 0;
  const sized = members.map((member) =>
    member.name === 'meta.json' && fixSize
      ? {
          ...member,
          content: Buffer.from(member.content.toString('latin1').replace(/"Size":\d+/, `"Size":${state}`), 'latin1'),
        }
      : member,
  );
  const hashed = sized.filter(({ name }) => name === 'meta.json' || name === 'state.bin');
  return sized.map((member) =>
    member.name === 'SHA256SUMS' ? { ...member, content: build.sha256Sums(hashed) } : member,
  );
}

/** One key or value changed, or a record taken out, doubled or moved; the framing around it is right. */
function withRecords(state: Buffer, random: Random, blind: (bytes: Buffer) => Buffer): Buffer {
  const records: build.TestRecord[] = [...(recordsOf(state) ?? [])];
  const at = random.below(records.length);
  const record = records[at];
  if (record === undefined) return blind(state);
  const change = random.below(8);
  // The few clear ones decide most, and are a handful among many.
  const clear = random.pick(records.filter(({ value }) => value[0] === 0x7b && value.at(-1) === 0x7d).concat(record));
  if (change >= 5) records[records.indexOf(clear)] = { ...clear, value: json(Buffer.from(clear.value), random, blind) };
  else if (change === 0) records.splice(at, 1);
  else if (change === 1) records.splice(random.below(records.length), 0, record);
  else if (change === 2) records[at] = { ...record, key: blind(Buffer.from(record.key)).toString('utf8') };
  else if (change === 3) records[at] = { ...record, value: blind(Buffer.from(record.value)) };
  else records[at] = { ...record, sealWrap: record.sealWrap !== true };
  const encoded = build.encodeState(random.isOneIn(2) ? build.sorted(records) : records);
  const keyAt = encoded.indexOf(record.key);
  // A string cannot hold what is no UTF-8; in the bytes it is one bit, best at the end, where it moves the key least.
  if (keyAt !== -1 && random.isOneIn(16)) encoded[keyAt + Buffer.byteLength(record.key) - 1] = 0x80 | random.below(128);
  return encoded;
}

function withHeaderField(tar: Buffer, random: Random, blind: (bytes: Buffer) => Buffer): Buffer {
  const header = random.below(tar.length / 512) * 512;
  const at = header + random.pick(HEADER_FIELDS);
  const field = tar.subarray(at, Math.min(at + 12, header + 512));
  const changed = Buffer.from(tar);
  blind(Buffer.from(field)).copy(changed, at, 0, Math.min(12, header + 512 - at));
  build.withTarSum(changed.subarray(header, header + 512));
  return changed;
}

/** One bit of the frame: header of the gzip and of its first block, last block and footer. */
function withFrame(archive: Buffer, random: Random): Buffer {
  const at = random.below(31);
  const changed = Buffer.from(archive);
  const place = at < 15 ? at : archive.length - 31 + at;
  changed.writeUInt8(changed.readUInt8(place) ^ (1 << random.below(8)), place);
  return changed;
}

function reorder(members: PlainMember[], random: Random): PlainMember[] {
  const changed = [...members];
  const [taken] = changed.splice(random.below(changed.length), 1);
  if (taken === undefined || random.isOneIn(3)) return changed;
  changed.splice(random.below(changed.length + 1), 0, taken);
  return random.isOneIn(3) ? [...changed, taken] : changed;
}

/** In one of the three forms of the servers, or in blocks and with ends that they do not make. */
function pack(tar: Buffer, random: Random): Buffer {
  const form = random.below(5);
  if (form === 0) return build.encodeGzip(tar, { form: 'deflate' });
  if (form === 1) return build.encodeGzip(tar, { form: 'stored-fixed' });
  if (form < 4) return build.encodeGzip(tar, { form: 'stored' });
  const whole = build.encodeGzip(tar, { form: 'stored' });
  const frame = [whole.subarray(0, 10), whole.subarray(-8)];
  const cut = random.below(tar.length + 1);
  const rest = deflateRawSync(tar.subarray(cut), { level: random.below(10), strategy: random.below(5) });
  // Stored first, then whatever zlib makes of the rest: the place where one reader takes over from the other.
  return Buffer.concat([
    frame[0] ?? rest,
    build.storedBlock(tar.subarray(0, Math.min(cut, 65_535))),
    rest,
    frame[1] ?? rest,
  ]);
}

function json(bytes: Buffer, random: Random, blind: (bytes: Buffer) => Buffer): Buffer {
  return (random.isOneIn(4) ? null : changeJson(bytes, random)) ?? blind(bytes);
}
