/** Tar as Go's `archive/tar` writes it (ustar; PAX only to state a size of 8 GiB and more), and nothing else. */
import { StrongroomError } from '../core/errors.ts';

const BLOCK = 512;
const ZEROS = Buffer.alloc(BLOCK);
/** `size` is the only record Go needs here: some twenty bytes. */
const MAX_PAX_BYTES = 1024;

export type TarMember = { name: string; bytes: number; mtime: number };

export type TarHandler = {
  /** May refuse the member by throwing. */
  open(member: TarMember): void;
  /** The next bytes of the member; valid during the call only. */
  data(piece: Buffer): void;
  /** The member is complete. */
  close(): void;
};

export class TarReader {
  readonly #handler: TarHandler;
  readonly #block = Buffer.alloc(BLOCK);
  #blockBytes = 0;
  #phase: 'header' | 'body' | 'padding' | 'end' | 'done' = 'header';
  #left = 0;
  #padding = 0;
  #member: TarMember | undefined;
  #pax: Buffer | undefined;
  #sizeByPax: number | undefined;
  /** bytes of the tar read so far */
  offset = 0;

  constructor(handler: TarHandler) {
    this.#handler = handler;
  }

  get isDone(): boolean {
    return this.#phase === 'done';
  }

  /** Where it stands, in words that follow "the archive ends". */
  get position(): string {
    const name = this.#member?.name;
    if (this.#phase === 'body' && this.#member !== undefined) {
      return `inside ${name}, after ${this.#member.bytes - this.#left} of ${this.#member.bytes} bytes`;
    }
    if (this.#phase === 'padding') return `inside the padding of ${name}`;
    if (this.#phase === 'end') return 'inside its end marker';
    if (this.#phase === 'done') return 'before the end of its compressed data';
    if (this.#blockBytes > 0)
      return name === undefined ? 'inside its first header' : `inside the header behind ${name}`;
    return name === undefined ? 'before its first header' : `behind ${name}`;
  }

  push(data: Buffer): void {
    let at = 0;
    while (at < data.length) {
      const before = at;
      if (this.#phase === 'body') at = this.#readBody(data, at);
      else if (this.#phase === 'padding') at = this.#readPadding(data, at);
      else if (this.#phase === 'done')
        throw this.#refuse('bytes behind the end marker of the tar', { bytesBehind: data.length - at });
      else at = this.#readBlock(data, at);
      this.offset += at - before;
    }
  }

  #readBody(data: Buffer, at: number): number {
    const end = Math.min(at + this.#left, data.length);
    const piece = data.subarray(at, end);
    this.#left -= piece.length;
    if (this.#pax === undefined) this.#handler.data(piece);
    else piece.copy(this.#pax, this.#pax.length - this.#left - piece.length);
    if (this.#left === 0) this.#closeMember();
    return end;
  }

  #readPadding(data: Buffer, at: number): number {
    const end = Math.min(at + this.#padding, data.length);
    if (!data.subarray(at, end).equals(ZEROS.subarray(0, end - at))) {
      throw this.#refuse(`padding behind ${this.#member?.name} that is not zero`);
    }
    this.#padding -= end - at;
    if (this.#padding === 0) this.#phase = 'header';
    return end;
  }

  #readBlock(data: Buffer, at: number): number {
    const end = Math.min(at + BLOCK - this.#blockBytes, data.length);
    data.copy(this.#block, this.#blockBytes, at, end);
    this.#blockBytes += end - at;
    if (this.#blockBytes < BLOCK) return end;
    this.#blockBytes = 0;
    const isZero = this.#block.equals(ZEROS);
    if (this.#phase === 'end') {
      if (!isZero) throw this.#refuse('an end marker of one zero block instead of two');
      this.#phase = 'done';
    } else if (isZero) {
      if (this.#sizeByPax !== undefined) throw this.#refuse('an extended header that belongs to no member');
      this.#phase = 'end';
    } else {
      this.#openMember();
    }
    return end;
  }

  #openMember(): void {
    const header = this.#block;
    this.#checkSum(header);
    if (header.toString('latin1', 257, 265) !== 'ustar\x0000') throw this.#refuse('a header that is not ustar');
    const name = this.#text(header, 0, 100);
    const type = header.toString('latin1', 156, 157);
    const stated = this.#octal(header, 124, 'size');
    const isPax = type === 'x';
    if (type !== '0' && !isPax) throw this.#refuse(`${quote(name)} with the type ${quote(type)}, not a plain file`);
    if (this.#text(header, 157, 100) !== '' || this.#text(header, 345, 155) !== '') {
      throw this.#refuse(`${quote(name)} with a link name or a name prefix`);
    }
    if (isPax) {
      if (this.#sizeByPax !== undefined) throw this.#refuse('two extended headers in a row');
      if (stated === 0 || stated > MAX_PAX_BYTES)
        throw this.#refuse('an extended header of no sensible size', { stated });
      this.#pax = Buffer.alloc(stated);
    }
    if (this.#sizeByPax !== undefined && stated !== 0) throw this.#refuse(`${quote(name)} with two sizes`);
    const bytes = this.#sizeByPax ?? stated;
    this.#sizeByPax = undefined;
    this.#member = { name, bytes, mtime: this.#octal(header, 136, 'time') };
    this.#left = bytes;
    this.#padding = (BLOCK - (bytes % BLOCK)) % BLOCK;
    if (!isPax) this.#handler.open(this.#member);
    this.#phase = 'body';
    if (bytes === 0) this.#closeMember();
  }

  #closeMember(): void {
    if (this.#pax === undefined) {
      this.#handler.close();
    } else {
      this.#sizeByPax = this.#paxSize(this.#pax.toString('latin1'));
      this.#pax = undefined;
    }
    this.#phase = this.#padding === 0 ? 'header' : 'padding';
  }

  /** One record, `<own length> size=<bytes>\n`. */
  #paxSize(text: string): number {
    const match = /^(\d+) size=([1-9]\d{0,15})\n$/.exec(text);
    const size = Number(match?.[2]);
    if (match === null || Number(match[1]) !== text.length || !Number.isSafeInteger(size)) {
      throw this.#refuse('an extended header that states something else than a size');
    }
    return size;
  }

  // The sum of the header's bytes, those of the sum itself counted as spaces.
  #checkSum(header: Buffer): void {
    const stated = this.#octal(header, 148, 'checksum');
    let sum = 8 * 0x20;
    for (let i = 0; i < BLOCK; i += 1) if (i < 148 || i >= 156) sum += header.readUInt8(i);
    if (sum !== stated) {
      throw new StrongroomError('E_SNAPSHOT_CHECKSUM', 'a tar header in the archive does not fit its checksum', {
        details: { tarOffset: this.offset, stated, actual: sum },
      });
    }
  }

  #octal(header: Buffer, at: number, what: string): number {
    const length = what === 'checksum' ? 8 : 12;
    const match = /^([0-7]+)\0[\0 ]*$/.exec(header.toString('latin1', at, at + length));
    if (match === null) throw this.#refuse(`a header whose ${what} is not an octal number`);
    return Number.parseInt(match[1] ?? '', 8);
  }

  #text(header: Buffer, at: number, length: number): string {
    const text = header.toString('latin1', at, at + length).replace(/\0+$/, '');
    if (text.includes('\0')) throw this.#refuse('a header with bytes behind the end of a name');
    return text;
  }

  #refuse(what: string, details: Record<string, unknown> = {}): StrongroomError {
    return new StrongroomError('E_SNAPSHOT_FORMAT', `the archive has ${what}`, {
      details: { tarOffset: this.offset, ...details },
      hint: 'a raft snapshot holds meta.json, state.bin, SHA256SUMS and SHA256SUMS.sealed, and nothing else',
    });
  }
}

/** A name out of a foreign file, safe to print. */
export function quote(name: string): string {
  const quoted = JSON.stringify(name.length > 60 ? `${name.slice(0, 60)}…` : name);
  // JSON leaves 0x7f to 0x9f as they are, and some terminals take 0x9b for the beginning of a command.
  return quoted.replace(/\p{C}/gu, (c) => `\\u${(c.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`);
}
