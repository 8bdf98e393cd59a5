/** The gzip frame: header, deflate data, footer, nothing behind. RFC 1952, in the one form that the servers write. */
import { crc32 } from 'node:zlib';
import { StrongroomError } from '../core/errors.ts';
import { DeflateReader } from './deflate.ts';

/**
 * Go's `compress/gzip` writes these ten bytes at the default level (Vault) and at level 0 (OpenBao): deflate, no flags,
 * no time, XFL 0, OS 255. No CRC covers them, so any other value is refused: that is how a flipped bit here is seen.
 */
const HEADER = Buffer.from('1f8b08000000000000ff', 'hex');
const FOOTER_BYTES = 8;

/** Deflate cannot do better than 1032:1; ciphertext does not deflate at all, key names do two- or threefold. */
const MAX_INFLATION = 100;
const INFLATION_FLOOR = 64 * 1024 * 1024;

export class GzipReader {
  readonly #onData: (data: Buffer) => void;
  readonly #deflate: DeflateReader;
  readonly #footer = Buffer.alloc(FOOTER_BYTES);
  #footerBytes = 0;
  #crc = 0;
  bytesIn = 0;
  bytesOut = 0;

  /** `onData` gets the inflated bytes in order, while `write` runs; the pieces are valid during the call only. */
  constructor(onData: (data: Buffer) => void) {
    this.#onData = onData;
    this.#deflate = new DeflateReader((data) => this.#take(data));
  }

  get compression(): 'stored' | 'deflate' {
    return this.#deflate.kind;
  }

  /** What is complete so far: for saying where a stream broke off. */
  get phase(): 'header' | 'deflate' | 'footer' | 'done' {
    if (this.bytesIn < HEADER.length) return 'header';
    if (!this.#deflate.done) return 'deflate';
    return this.#footerBytes < FOOTER_BYTES ? 'footer' : 'done';
  }

  /** Takes the next bytes; wait for the promise, if there is one, before the next call. Throws or rejects on damage. */
  write(chunk: Buffer): Promise<void> | undefined {
    const headed = this.#readHeader(chunk);
    if (headed === chunk.length) return undefined;
    if (this.#deflate.done) {
      this.#readFooter(chunk.subarray(headed));
      return undefined;
    }
    const body = headed === 0 ? chunk : chunk.subarray(headed);
    this.bytesIn += body.length;
    const consumed = this.#deflate.write(body);
    if (typeof consumed === 'number') {
      this.#afterBody(body, consumed);
      return undefined;
    }
    return consumed.then((n) => this.#afterBody(body, n));
  }

  /** Frees the inflater. Idempotent. */
  close(): void {
    this.#deflate.close();
  }

  #readHeader(chunk: Buffer): number {
    let at = 0;
    while (this.bytesIn < HEADER.length && at < chunk.length) {
      if (chunk[at] !== HEADER[this.bytesIn]) throw wrongHeader(chunk, this.bytesIn, at);
      this.bytesIn += 1;
      at += 1;
    }
    return at;
  }

  #afterBody(body: Buffer, consumed: number): void {
    if (consumed === body.length) return;
    this.bytesIn -= body.length - consumed;
    this.#readFooter(body.subarray(consumed));
  }

  #readFooter(rest: Buffer): void {
    const wanted = Math.min(rest.length, FOOTER_BYTES - this.#footerBytes);
    rest.copy(this.#footer, this.#footerBytes, 0, wanted);
    this.#footerBytes += wanted;
    this.bytesIn += wanted;
    if (this.#footerBytes === FOOTER_BYTES && wanted > 0) this.#checkFooter();
    if (rest.length > wanted) {
      throw new StrongroomError('E_SNAPSHOT_FORMAT', 'the archive goes on behind its gzip footer', {
        details: { offset: this.bytesIn, bytesBehind: rest.length - wanted },
        hint: 'the file was appended to, or two archives were joined: take another snapshot',
      });
    }
  }

  #checkFooter(): void {
    const crc = this.#footer.readUInt32LE(0);
    const size = this.#footer.readUInt32LE(4);
    if (crc !== this.#crc) {
      throw new StrongroomError('E_SNAPSHOT_CHECKSUM', 'the CRC32 in the gzip footer does not fit the content', {
        details: { offset: this.bytesIn - FOOTER_BYTES, stated: hex32(crc), actual: hex32(this.#crc) },
      });
    }
    // ISIZE is the size modulo 2^32.
    if (size !== this.bytesOut % 2 ** 32) {
      throw new StrongroomError('E_SNAPSHOT_CHECKSUM', 'the size in the gzip footer does not fit the content', {
        details: { offset: this.bytesIn - 4, stated: size, actual: this.bytesOut },
      });
    }
  }

  #take(data: Buffer): void {
    this.#crc = crc32(data, this.#crc);
    this.bytesOut += data.length;
    if (this.bytesOut > INFLATION_FLOOR && this.bytesOut > this.bytesIn * MAX_INFLATION) {
      throw new StrongroomError('E_SNAPSHOT_FORMAT', `the archive inflates more than ${MAX_INFLATION}-fold`, {
        details: { bytesIn: this.bytesIn, bytesOut: this.bytesOut },
        hint: 'encrypted storage does not compress like this: the file is not a snapshot, or was made to exhaust a reader',
      });
    }
    this.#onData(data);
  }
}

function wrongHeader(chunk: Buffer, offset: number, at: number): StrongroomError {
  const details = { offset, found: chunk[at], wanted: HEADER[offset] };
  if (offset >= 3) {
    return new StrongroomError('E_SNAPSHOT_FORMAT', `byte ${offset} of the gzip header is not what a server writes`, {
      details,
      hint: 'the file is damaged, or was unpacked and packed again: use the file that the server sent',
    });
  }
  const head = chunk.toString('latin1', at, at + 32);
  let hint = 'this is not the body of sys/storage/raft/snapshot';
  if (head.startsWith('age-encryption.org/')) hint = 'this is an encrypted snapshot: decrypt it first';
  else if (/^\s*[{[]/.test(head)) hint = 'this looks like JSON, such as the error answer of a server';
  else if (/^\s*</.test(head)) hint = 'this looks like HTML, such as the error page of a proxy';
  return new StrongroomError('E_SNAPSHOT_FORMAT', 'the archive does not begin as gzip', { details, hint });
}

function hex32(n: number): string {
  return n.toString(16).padStart(8, '0');
}
