/**
 * A second reader of archives, written from the formats and not from ours: gunzip of zlib, a tar walk, records. It takes
 * a whole archive, believes what it is told, and is only asked about archives that ours has taken.
 */
import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';

export type PlainMember = { name: string; content: Buffer };
export type PlainRecord = { key: string; keyBytes: Buffer; value: Buffer };

const MAX_TAR = 256 * 2 ** 20;
const BLOCK = 512;

/** The tar in the gzip; throws what zlib throws. */
export function unpack(archive: Buffer): Buffer {
  return gunzipSync(archive, { maxOutputLength: MAX_TAR });
}

/** The members of a tar up to its first zero block; null when it is not one. PAX headers are honoured for the size. */
export function membersOf(tar: Buffer): PlainMember[] | null {
  const members: PlainMember[] = [];
  let size: number | null = null;
  for (let at = 0; at + BLOCK <= tar.length; ) {
    const header = tar.subarray(at, at + BLOCK);
    if (header.every((byte) => byte === 0)) return members;
    const stated = Number.parseInt(header.toString('latin1', 124, 136), 8);
    const bytes = size ?? stated;
    if (!Number.isSafeInteger(bytes) || at + BLOCK + bytes > tar.length) return null;
    const content = tar.subarray(at + BLOCK, at + BLOCK + bytes);
    const isPax = header[156] === 0x78;
    size = isPax ? Number(/^\d+ size=(\d+)\n$/.exec(content.toString('latin1'))?.[1]) : null;
    if (!isPax) members.push({ name: header.toString('latin1', 0, 100).split('\0', 1)[0] ?? '', content });
    at += BLOCK + Math.ceil(bytes / BLOCK) * BLOCK;
  }
  return null;
}

/** The records of state.bin; null when it is none. */
export function recordsOf(state: Buffer): PlainRecord[] | null {
  const records: PlainRecord[] = [];
  for (let at = 0; at < state.length; ) {
    const length = uvarint(state, at);
    if (length === null || length.next + length.value > state.length) return null;
    const entry = state.subarray(length.next, length.next + length.value);
    const fields = fieldsOf(entry);
    if (fields === null) return null;
    const keyBytes = fields.get(1) ?? Buffer.alloc(0);
    records.push({ key: keyBytes.toString('utf8'), keyBytes, value: fields.get(2) ?? Buffer.alloc(0) });
    at = length.next + length.value;
  }
  return records;
}

export function sha256Hex(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

function fieldsOf(entry: Buffer): Map<number, Buffer> | null {
  const fields = new Map<number, Buffer>();
  for (let at = 0; at < entry.length; ) {
    const tag = uvarint(entry, at);
    const value = tag === null ? null : uvarint(entry, tag.next);
    if (tag === null || value === null) return null;
    at = value.next;
    if (tag.value % 8 !== 2) continue;
    fields.set(Math.floor(tag.value / 8), entry.subarray(value.next, value.next + value.value));
    at += value.value;
  }
  return fields;
}

function uvarint(data: Buffer, from: number): { value: number; next: number } | null {
  let value = 0;
  for (let at = from; at < data.length && at < from + 10; at += 1) {
    const byte = data.readUInt8(at);
    value += (byte & 127) * 2 ** (7 * (at - from));
    if (byte < 128) return { value, next: at + 1 };
  }
  return null;
}
