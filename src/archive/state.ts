/**
 * The framing of state.bin: records of `uvarint(length)` + protobuf `StorageEntry{ 1 key, 2 value, 3 seal_wrap }`, in
 * bolt's cursor order. Records may be cut anywhere between two pieces.
 *
 * Memory: a record is put together only up to `maxBuffered` bytes, in a buffer that grows with what has *arrived*, never
 * with what a length claims; of a longer one, when nobody wants its value, only the first 48 KiB are kept.
 */
import { isUtf8 } from 'node:buffer';
import { StrongroomError } from '../core/errors.ts';
import { readUvarint } from './varint.ts';

/** Go's MaxInt32: the server's own reader takes no longer record. */
const MAX_RECORD = 2 ** 31 - 1;
/** bbolt's MaxKeySize: no longer key can be stored. */
const MAX_KEY = 32 * 1024;
/** The longest key, the tags and lengths around it, and a value long enough to classify. */
const HEAD = 48 * 1024;
const SEAL_WRAP_BYTES = 2;

export type StateRecord = {
  /** position in state.bin */
  offset: number;
  key: string;
  /** The value, or no more than the beginning of it when it was too long to be kept. Valid during the call only. */
  value: Buffer;
  valueBytes: number;
  sealWrap: boolean;
};

type Layout = { keyStart: number; keyEnd: number; valueStart: number; valueEnd: number };

export class StateReader {
  readonly #stateBytes: number;
  readonly #onRecord: (record: StateRecord) => void;
  readonly #maxBuffered: number;
  readonly #refuseLonger: boolean;
  readonly #previous = Buffer.alloc(MAX_KEY);
  #previousBytes = 0;
  /** bytes of an incomplete length, record or head */
  #carry = Buffer.alloc(2 * HEAD);
  #carried = 0;
  /** length of the record that is being carried, its length prefix excluded; 0 while that is not known */
  #length = 0;
  /** of a record that is too long to be carried: bytes that have not come yet */
  #skipping = 0;
  #skipped: Layout | undefined;
  #tail = Buffer.alloc(SEAL_WRAP_BYTES);
  #recordOffset = 0;
  offset = 0;
  records = 0;

  /**
   * @param maxValueBytes longest value to hand out whole; null when nobody asks for values. A longer record is refused
   * in the first case, and read past in the second.
   */
  constructor(stateBytes: number, maxValueBytes: number | null, onRecord: (record: StateRecord) => void) {
    this.#stateBytes = stateBytes;
    this.#onRecord = onRecord;
    this.#refuseLonger = maxValueBytes !== null;
    this.#maxBuffered = Math.max(HEAD, (maxValueBytes ?? 0) + HEAD);
  }

  push(data: Buffer): void {
    let at = 0;
    while (at < data.length) {
      if (this.#skipping > 0) at = this.#skip(data, at);
      else if (this.#carried > 0 || this.#length > 0) at = this.#carryOn(data, at);
      else at = this.#readWhole(data, at);
    }
  }

  /** Throws when the last record is cut off. */
  end(): void {
    if (this.#carried > 0 || this.#length > 0 || this.#skipping > 0) {
      throw this.#refuse('is cut off at the end of state.bin', {});
    }
  }

  /** The common case: the record lies in `data` as a whole, and nothing is copied. */
  #readWhole(data: Buffer, at: number): number {
    this.#recordOffset = this.offset;
    const prefix = readUvarint(data, at);
    if (prefix === null) return this.#keep(data, at, data.length);
    const length = this.#checkLength(prefix === -1 ? -1 : prefix.value, prefix === -1 ? 0 : prefix.next - at);
    const start = prefix === -1 ? at : prefix.next;
    const end = start + length;
    if (end > data.length) {
      this.offset += start - at;
      this.#length = length;
      return start === data.length ? start : this.#carryOn(data, start);
    }
    this.offset += end - at;
    const layout = this.#layOut(data, start, end, length);
    this.#emit(data, layout, end);
    return end;
  }

  #keep(data: Buffer, at: number, end: number): number {
    const needed = this.#carried + end - at;
    if (needed > this.#carry.length) {
      const larger = Buffer.alloc(Math.max(needed, 2 * this.#carry.length));
      this.#carry.copy(larger, 0, 0, this.#carried);
      this.#carry = larger;
    }
    data.copy(this.#carry, this.#carried, at, end);
    this.#carried = needed;
    this.offset += end - at;
    return end;
  }

  #carryOn(data: Buffer, at: number): number {
    if (this.#length === 0) {
      const next = this.#keep(data, at, at + 1);
      const prefix = readUvarint(this.#carry.subarray(0, this.#carried), 0);
      if (prefix === null) return next;
      this.#length = this.#checkLength(prefix === -1 ? -1 : prefix.value, this.#carried);
      this.#carried = 0;
      return next;
    }
    const target = this.#length > this.#maxBuffered ? HEAD : this.#length;
    const next = this.#keep(data, at, Math.min(data.length, at + target - this.#carried));
    if (this.#carried < target) return next;
    const layout = this.#layOut(this.#carry, 0, target, this.#length);
    if (target === this.#length) {
      this.#emit(this.#carry, layout, target);
      this.#carried = 0;
      this.#length = 0;
    } else {
      this.#skipped = layout;
      this.#skipping = this.#length - target;
      if (layout.valueEnd < target) this.#carry.copy(this.#tail, 0, layout.valueEnd, target);
    }
    return next;
  }

  #skip(data: Buffer, at: number): number {
    const end = Math.min(data.length, at + this.#skipping);
    // The value may be followed by seal_wrap, and those two bytes may come in two pieces.
    const position = this.#length - this.#skipping;
    const valueEnd = this.#skipped?.valueEnd ?? 0;
    for (let i = Math.max(valueEnd, position); i < position + end - at; i += 1) {
      this.#tail[i - valueEnd] = data.readUInt8(at + i - position);
    }
    this.#skipping -= end - at;
    this.offset += end - at;
    if (this.#skipping === 0 && this.#skipped !== undefined) {
      this.#emitLong(this.#skipped);
      this.#skipped = undefined;
      this.#carried = 0;
      this.#length = 0;
    }
    return end;
  }

  #checkLength(length: number, prefixBytes: number): number {
    if (length === -1) throw this.#refuse('has a length that is no uvarint', {});
    if (length === 0 || length > MAX_RECORD) throw this.#refuse(`claims ${length} bytes`, { length });
    const left = this.#stateBytes - this.#recordOffset - prefixBytes;
    if (length > left) throw this.#refuse(`claims ${length} bytes of the ${left} left`, { length, left });
    if (this.#refuseLonger && length > this.#maxBuffered) {
      throw this.#refuse(`has ${length} bytes, more than may be held in memory`, { length, limit: this.#maxBuffered });
    }
    return length;
  }

  /** Where key and value are, relative to `data`; `data[start, end)` is the record of `length` bytes, or its head. */
  #layOut(data: Buffer, start: number, end: number, length: number): Layout {
    const recordEnd = start + length;
    const key = data[start] === 0x0a ? readUvarint(data, start + 1) : -1;
    if (key === null || key === -1) throw this.#refuse('does not begin with a key', {});
    const keyEnd = key.next + key.value;
    if (key.value === 0 || key.value > MAX_KEY || keyEnd > end) {
      throw this.#refuse(`has a key of ${key.value} bytes`, { keyBytes: key.value });
    }
    // An empty value is not written at all.
    if (keyEnd === recordEnd || data[keyEnd] !== 0x12) {
      if (keyEnd !== recordEnd && keyEnd !== recordEnd - SEAL_WRAP_BYTES) {
        throw this.#refuse('has something else behind its key than a value', { keyBytes: key.value, length });
      }
      return { keyStart: key.next, keyEnd, valueStart: keyEnd, valueEnd: keyEnd };
    }
    const value = readUvarint(data, keyEnd + 1);
    if (value === null || value === -1 || value.value === 0)
      throw this.#refuse('has a value of no sensible length', {});
    const valueEnd = value.next + value.value;
    if (valueEnd !== recordEnd && valueEnd !== recordEnd - SEAL_WRAP_BYTES) {
      throw this.#refuse('has a value that does not fill it', { valueBytes: value.value, length });
    }
    return { keyStart: key.next, keyEnd, valueStart: value.next, valueEnd };
  }

  #emit(data: Buffer, layout: Layout, end: number): void {
    this.#deliver(data, layout, data.subarray(layout.valueStart, layout.valueEnd), data.subarray(layout.valueEnd, end));
  }

  #emitLong(layout: Layout): void {
    const begin = this.#carry.subarray(layout.valueStart, Math.min(layout.valueEnd, HEAD));
    this.#deliver(this.#carry, layout, begin, this.#tail.subarray(0, this.#length - layout.valueEnd));
  }

  #deliver(data: Buffer, layout: Layout, value: Buffer, tail: Buffer): void {
    if (tail.length > 0 && (tail.length !== SEAL_WRAP_BYTES || tail[0] !== 0x18 || tail[1] !== 1)) {
      throw this.#refuse('has something else behind its value than the seal_wrap mark', { bytesBehind: tail.length });
    }
    const key = data.subarray(layout.keyStart, layout.keyEnd);
    if (!isUtf8(key)) throw this.#refuse('has a key that is not UTF-8', { keyBytes: key.length });
    if (this.records > 0) {
      const order = key.compare(this.#previous, 0, this.#previousBytes);
      if (order === 0) throw this.#refuse('has the key of the record before it', {});
      if (order < 0) throw this.#refuse('has a key that sorts before the one ahead of it', {});
    }
    key.copy(this.#previous);
    this.#previousBytes = key.length;
    this.#onRecord({
      offset: this.#recordOffset,
      key: key.toString('utf8'),
      value,
      valueBytes: layout.valueEnd - layout.valueStart,
      sealWrap: tail.length > 0,
    });
    this.records += 1;
  }

  #refuse(what: string, details: Record<string, unknown>): StrongroomError {
    return new StrongroomError(
      'E_SNAPSHOT_FORMAT',
      `record ${this.records + 1} of state.bin, at byte ${this.#recordOffset}, ${what}`,
      {
        details: { member: 'state.bin', record: this.records + 1, offset: this.#recordOffset, ...details },
        hint: 'the file is damaged, or of a server whose snapshot format is not known here',
      },
    );
  }
}
