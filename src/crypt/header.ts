/** The textual head of an age file: made, opened and authenticated by the library; here only its edge is found. */
import { createHash } from 'node:crypto';
import { Decrypter, Encrypter, type Recipient } from 'age-encryption';
import { StrongroomError } from '../core/errors.ts';
import type { Secret } from '../core/secret.ts';
import { recipientOf } from './recipients.ts';

/** Gives the file key of a header, its MAC checked; throws E_DECRYPT. */
export type OpenHeader = (header: Uint8Array) => Promise<Uint8Array>;

const MAGIC = Buffer.from('age-encryption.org/v1\n');
const NEWLINE = 0x0a;
const DASH = 0x2d;
/** A post-quantum stanza is about 1.6 KiB; this is room for hundreds of them, and a bound for what is not an age file. */
const MAX_HEADER = 1024 * 1024;
/** What the library appends to the header of an empty file: 16 bytes of nonce and one empty chunk, which is its tag. */
const EMPTY_PAYLOAD = 32;

/**
 * A header for `recipients` with a fresh 16-byte file key. The library has no call for it, so a first "recipient" of ours
 * keeps the file key that it is asked to wrap, and adds no stanza.
 */
export async function newHeader(recipients: readonly string[]): Promise<{ header: Uint8Array; fileKey: Uint8Array }> {
  let fileKey: Uint8Array | undefined;
  const capture: Recipient = {
    wrapFileKey(key) {
      fileKey = Uint8Array.from(key);
      return [];
    },
  };
  const encrypter = new Encrypter();
  encrypter.addRecipient(capture);
  for (const recipient of recipients) encrypter.addRecipient(recipient);
  const empty = await encrypter.encrypt(new Uint8Array(0));
  const header = empty.slice(0, -EMPTY_PAYLOAD);
  if (fileKey === undefined || findHeaderEnd(header) !== header.byteLength) {
    throw new StrongroomError('E_BUG', 'the age library did not give a header where one was expected');
  }
  return { header, fileKey };
}

/**
 * Opens headers with the first of `identities` that fits. A header that none of them opens is E_DECRYPT, as is one whose
 * MAC does not fit; an identity that is none is E_CONFIG_INVALID. No message contains anything of an identity.
 */
export function openWith(identities: readonly Secret<string>[]): OpenHeader {
  return async (header) => {
    const decrypter = new Decrypter();
    for (const [index, identity] of identities.entries()) {
      await recipientOf(identity, `identity ${index + 1} of ${identities.length}`);
      decrypter.addIdentity(identity.reveal());
    }
    try {
      return await decrypter.decryptHeader(header);
    } catch (e) {
      throw headerError(e, identities.length);
    }
  };
}

/** Collects pieces until the header is whole. Each byte is looked at once, however small the pieces are. */
export class HeaderReader {
  #buffer = Buffer.alloc(4096);
  #used = 0;
  #lineStart = 0;

  /** null = more is needed; else the header, and what followed it in this piece. Throws E_DECRYPT for what is no age file. */
  push(piece: Uint8Array): { header: Uint8Array; rest: Uint8Array } | null {
    const before = this.#used;
    this.#append(piece.subarray(0, MAX_HEADER + 1 - before));
    this.#checkMagic(before);
    for (let at = before; at < this.#used; at += 1) {
      if (this.#buffer[at] !== NEWLINE) continue;
      if (isLastLine(this.#buffer, this.#lineStart)) {
        const end = at + 1;
        return { header: Uint8Array.from(this.#buffer.subarray(0, end)), rest: piece.subarray(end - before) };
      }
      this.#lineStart = at + 1;
    }
    if (this.#used > MAX_HEADER) throw notAge(`its header does not end within ${MAX_HEADER} bytes`);
    return null;
  }

  /** For the end of the source before the end of the header. */
  truncated(): StrongroomError {
    return new StrongroomError(
      'E_DECRYPT',
      `the ciphertext is truncated: it ends inside its header (byte ${this.#used})`,
    );
  }

  #append(piece: Uint8Array): void {
    if (this.#used + piece.byteLength > this.#buffer.byteLength) {
      const larger = Buffer.alloc(Math.max(this.#buffer.byteLength * 2, this.#used + piece.byteLength));
      larger.set(this.#buffer.subarray(0, this.#used));
      this.#buffer = larger;
    }
    this.#buffer.set(piece, this.#used);
    this.#used += piece.byteLength;
  }

  #checkMagic(before: number): void {
    if (before >= MAGIC.byteLength) return;
    const length = Math.min(MAGIC.byteLength, this.#used);
    if (!MAGIC.subarray(0, length).equals(this.#buffer.subarray(0, length))) {
      throw notAge('it does not begin with age-encryption.org/v1');
    }
  }
}

/** SHA-256 of the header, hex: what a signed manifest binds a snapshot's data to. */
export function headerHash(header: Uint8Array): string {
  return createHash('sha256').update(header).digest('hex');
}

function findHeaderEnd(bytes: Uint8Array): number | null {
  const found = new HeaderReader().push(bytes);
  return found === null ? null : found.header.byteLength;
}

function isLastLine(buffer: Uint8Array, lineStart: number): boolean {
  return buffer[lineStart] === DASH && buffer[lineStart + 1] === DASH && buffer[lineStart + 2] === DASH;
}

function notAge(why: string): StrongroomError {
  return new StrongroomError('E_DECRYPT', `the ciphertext is not an age v1 file: ${why}`, {
    hint: 'the object was replaced or altered: read another destination, or an older version of it',
  });
}

function headerError(e: unknown, identities: number): StrongroomError {
  const reason = e instanceof Error ? e.message : String(e);
  if (reason.startsWith('no identity matched')) {
    return new StrongroomError('E_DECRYPT', `none of the ${identities} identities opens it`, {
      hint: 'use the identity of a break-glass recipient that was configured when this snapshot was taken, or its keys.json',
      cause: e,
    });
  }
  if (reason === 'invalid header HMAC') {
    return new StrongroomError('E_DECRYPT', 'the header was altered: its authentication code does not fit', {
      cause: e,
    });
  }
  return new StrongroomError('E_DECRYPT', `the header is malformed: ${reason}`, { cause: e });
}
