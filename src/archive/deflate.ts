/**
 * Deflate (RFC 1951). OpenBao writes level 0, that is stored blocks: they are taken apart here, with nothing to inflate.
 * At the first block of another type zlib takes over, with the last 32 KiB as its window, and stays.
 */
import { createInflateRaw, type InflateRaw } from 'node:zlib';
import { StrongroomError } from '../core/errors.ts';

const WINDOW = 32 * 1024;

export class DeflateReader {
  readonly #onData: (data: Buffer) => void;
  /** header of a stored block: type byte, LEN, NLEN */
  readonly #head = Buffer.alloc(5);
  #headBytes = 0;
  #blockLeft = 0;
  #isFinal = false;
  readonly #window = Buffer.alloc(WINDOW);
  #windowBytes = 0;
  #inflater: Inflater | undefined;
  /** position in the deflate data, for messages; while blocks are stored */
  #total = 0;
  done = false;

  constructor(onData: (data: Buffer) => void) {
    this.#onData = onData;
  }

  get kind(): 'stored' | 'deflate' {
    return this.#inflater === undefined ? 'stored' : 'deflate';
  }

  /**
   * Gives how many bytes of `data` belong to the deflate stream; fewer than all mean that it ended there. When it ends
   * with the last byte of `data`, an inflating reader learns so only from the next call (`done`, 0 consumed).
   */
  write(data: Buffer): number | Promise<number> {
    return this.#inflater === undefined ? this.#readStored(data) : this.#inflate(this.#inflater, data);
  }

  close(): void {
    this.#inflater?.close();
  }

  #readStored(data: Buffer): number | Promise<number> {
    const begin = this.#total;
    let at = 0;
    while (at < data.length) {
      this.#total = begin + at;
      if (this.#blockLeft > 0) {
        const end = Math.min(at + this.#blockLeft, data.length);
        const piece = data.subarray(at, end);
        this.#blockLeft -= piece.length;
        at = end;
        this.#remember(piece);
        this.#onData(piece);
      } else {
        this.#head[this.#headBytes] = data.readUInt8(at);
        this.#headBytes += 1;
        at += 1;
        if (!this.#readHead()) return this.#handOver(data, at);
      }
      if (this.#isFinal && this.#headBytes === 0 && this.#blockLeft === 0) {
        this.done = true;
        break;
      }
    }
    this.#total = begin + at;
    return at;
  }

  /** False when the block is one for zlib. */
  #readHead(): boolean {
    const head = this.#head;
    const first = head.readUInt8(0);
    if (this.#headBytes === 1) {
      if (((first >> 1) & 3) === 0 && first > 1) throw this.#paddingSet();
      return first === 0 || first === 1 || first === 3;
    }
    if (first === 3) {
      // Newer Go ends a level 0 stream with a final *fixed* block holding only its end code, seven zeros: 03 00.
      const second = head.readUInt8(1);
      if ((second & 3) !== 0) return false;
      if (second !== 0) throw this.#paddingSet();
      this.#isFinal = true;
      this.#headBytes = 0;
      return true;
    }
    if (this.#headBytes < head.length) return true;
    const length = head.readUInt16LE(1);
    if ((length ^ 0xffff) !== head.readUInt16LE(3)) {
      throw new StrongroomError('E_SNAPSHOT_CHECKSUM', 'the length of a stored deflate block contradicts itself', {
        details: { deflateOffset: this.#total, length, complement: head.readUInt16LE(3) },
      });
    }
    this.#headBytes = 0;
    this.#blockLeft = length;
    this.#isFinal = first === 1;
    return true;
  }

  // inflate ignores these bits, and no checksum covers them.
  #paddingSet(): StrongroomError {
    return new StrongroomError('E_SNAPSHOT_FORMAT', 'a deflate block has padding bits that are not zero', {
      details: { deflateOffset: this.#total },
    });
  }

  // zlib may refer back over what was stored before it took over.
  #remember(piece: Buffer): void {
    if (piece.length >= WINDOW) {
      piece.copy(this.#window, 0, piece.length - WINDOW);
      this.#windowBytes = WINDOW;
      return;
    }
    const kept = Math.min(this.#windowBytes, WINDOW - piece.length);
    this.#window.copyWithin(0, this.#windowBytes - kept, this.#windowBytes);
    piece.copy(this.#window, kept);
    this.#windowBytes = kept + piece.length;
  }

  async #handOver(data: Buffer, at: number): Promise<number> {
    const inflater = new Inflater(this.#window.subarray(0, this.#windowBytes), this.#onData);
    this.#inflater = inflater;
    // At most two bytes, and no block of another type ends within its first two, but the empty one handled above.
    await inflater.write(this.#head.subarray(0, this.#headBytes));
    if (at === data.length) return at;
    return at + (await this.#inflate(inflater, data.subarray(at)));
  }

  async #inflate(inflater: Inflater, data: Buffer): Promise<number> {
    const consumed = await inflater.write(data);
    this.done = consumed < data.length;
    return consumed;
  }
}

class Inflater {
  readonly #zlib: InflateRaw;
  #failure: unknown;
  #onFailure: (() => void) | undefined;

  constructor(dictionary: Buffer, onData: (data: Buffer) => void) {
    const window = dictionary.length === 0 ? {} : { dictionary };
    this.#zlib = createInflateRaw({ chunkSize: 128 * 1024, ...window });
    this.#zlib.on('data', (data: Buffer) => {
      // A throw from inside an event would be nobody's: it is kept and thrown by write().
      if (this.#failure !== undefined) return;
      try {
        onData(data);
      } catch (e) {
        this.#failure = e;
      }
    });
    this.#zlib.on('error', (e: Error) => {
      this.#failure ??= new StrongroomError('E_SNAPSHOT_CHECKSUM', 'the compressed data are damaged', {
        cause: e,
        details: { bytesIn: this.#zlib.bytesWritten },
      });
      this.#onFailure?.();
    });
  }

  /** Gives how many bytes zlib took; by then all that they inflate to has been handed out. */
  async write(data: Buffer): Promise<number> {
    const before = this.#zlib.bytesWritten;
    if (this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#onFailure = resolve;
        this.#zlib.write(data, () => resolve());
      });
    }
    // Checked again after the wait: a failure may be reported by event before, or instead of, the callback.
    if (this.#failure !== undefined) throw this.#failure;
    return this.#zlib.bytesWritten - before;
  }

  close(): void {
    this.#zlib.destroy();
  }
}
