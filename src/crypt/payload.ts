/**
 * The body of an age v1 file (C2SP age.md, "Payload"): 64 KiB chunks, each ChaCha20-Poly1305 with a 12-byte nonce of an
 * 11-byte big-endian counter and a flag that is 1 in the last chunk. On node:crypto, because the library's own payload code
 * in plain JavaScript reaches 52 MB/s.
 */
import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, type KeyObject, randomBytes } from 'node:crypto';
import { StrongroomError } from '../core/errors.ts';
import type { Bytes, Stage } from '../core/flow.ts';

const ALGORITHM = 'chacha20-poly1305';
const CHUNK = 64 * 1024;
const TAG = 16;
const SEALED = CHUNK + TAG;
const NONCE = 16;
/** Chunks that are given out as one piece: every stage behind costs its promises per piece, not per byte. */
const BATCH = 16;
/** How far around a chunk that does not fit its place its real place is looked for; only to word the error. */
const SEARCH = 64;

/** Bytes of the payload (nonce, chunks, tags) for that many bytes of plaintext; an empty plaintext still has one chunk. */
export function payloadBytes(plainBytes: number): number {
  return NONCE + plainBytes + TAG * Math.max(1, Math.ceil(plainBytes / CHUNK));
}

/** Encrypts under a key derived from `fileKey` and a fresh nonce. Never holds more than a megabyte, whatever size comes in. */
export function encryptPayload(fileKey: Uint8Array): Stage {
  return async function* encrypted(source: Bytes) {
    const nonce = randomBytes(NONCE);
    const key = payloadKey(fileKey, nonce);
    const pending = Buffer.allocUnsafe(CHUNK);
    let used = 0;
    let counter = 0;
    let sealed = Buffer.allocUnsafeSlow(BATCH * SEALED);
    let sealedBytes = 0;
    yield nonce;
    for await (const piece of source) {
      let at = 0;
      while (at < piece.byteLength) {
        // A full chunk waits until one more byte comes: only then is it certain that it is not the last.
        if (used === CHUNK) {
          sealedBytes += seal(key, counter, false, pending, sealed.subarray(sealedBytes));
          counter += 1;
          used = 0;
          if (sealedBytes === sealed.byteLength) {
            yield sealed;
            // The consumer may still have the old one.
            sealed = Buffer.allocUnsafeSlow(BATCH * SEALED);
            sealedBytes = 0;
          }
        }
        const end = Math.min(at + CHUNK - used, piece.byteLength);
        pending.set(piece.subarray(at, end), used);
        used += end - at;
        at = end;
      }
    }
    sealedBytes += seal(key, counter, true, pending.subarray(0, used), sealed.subarray(sealedBytes));
    yield sealed.subarray(0, sealedBytes);
  };
}

/**
 * Decrypts a payload piece by piece. A chunk's plaintext comes out only after the chunk has authenticated, and `end()` only
 * returns when the last one did: whatever was yielded before a throw is a correct prefix. Every throw is E_DECRYPT.
 */
export class PayloadDecrypter {
  readonly #fileKey: Uint8Array;
  readonly #nonce = Buffer.alloc(NONCE);
  #nonceUsed = 0;
  #key: KeyObject | undefined;
  readonly #pending = Buffer.allocUnsafe(SEALED);
  #used = 0;
  #counter = 0;

  constructor(fileKey: Uint8Array) {
    this.#fileKey = fileKey;
  }

  *push(piece: Uint8Array): Generator<Uint8Array> {
    let at = this.#takeNonce(piece);
    while (at < piece.byteLength) {
      if (this.#used === SEALED) yield* this.#open(false);
      const end = Math.min(at + SEALED - this.#used, piece.byteLength);
      this.#pending.set(piece.subarray(at, end), this.#used);
      this.#used += end - at;
      at = end;
    }
  }

  *end(): Generator<Uint8Array> {
    if (this.#nonceUsed < NONCE) throw refused('the ciphertext is truncated: it ends before its first chunk');
    if (this.#used < TAG) {
      throw refused(
        this.#used === 0
          ? 'the ciphertext is truncated: it ends before its first chunk'
          : `the ciphertext is truncated: it ends inside chunk ${this.#counter + 1}`,
      );
    }
    if (this.#used === TAG && this.#counter > 0) this.#refuseEmpty();
    yield* this.#open(true);
  }

  /** How many bytes of `piece` belong to the nonce. */
  #takeNonce(piece: Uint8Array): number {
    if (this.#nonceUsed === NONCE) return 0;
    const taken = Math.min(NONCE - this.#nonceUsed, piece.byteLength);
    this.#nonce.set(piece.subarray(0, taken), this.#nonceUsed);
    this.#nonceUsed += taken;
    return taken;
  }

  *#open(isLast: boolean): Generator<Uint8Array> {
    this.#key ??= payloadKey(this.#fileKey, this.#nonce);
    const chunk = this.#pending.subarray(0, this.#used);
    const plain = open(this.#key, this.#counter, isLast, chunk);
    if (plain === null) yield* this.#refuse(this.#key, chunk, isLast);
    else if (plain.byteLength > 0) yield plain;
    this.#counter += 1;
    this.#used = 0;
  }

  /** Throws. A full chunk that is authentic, and only not where the file may end or go on, is given out before that. */
  *#refuse(key: KeyObject, chunk: Buffer, isLast: boolean): Generator<Uint8Array> {
    const number = this.#counter + 1;
    const plain = chunk.byteLength === SEALED ? open(key, this.#counter, !isLast, chunk) : null;
    if (plain === null) throw refused(this.#diagnose(key, chunk, isLast));
    yield plain;
    throw refused(
      isLast
        ? `the ciphertext is truncated: chunk ${number} is not the last one`
        : `data is appended after the last chunk (${number})`,
    );
  }

  #refuseEmpty(): void {
    if (this.#key === undefined || open(this.#key, this.#counter, true, this.#pending.subarray(0, TAG)) === null)
      return;
    throw refused(`the last chunk (${this.#counter + 1}) is empty, which no writer makes`);
  }

  /** Why a chunk did not authenticate: its counter is in its nonce, so the place where it belongs can be found by trying. */
  #diagnose(key: KeyObject, chunk: Buffer, isLast: boolean): string {
    const n = this.#counter;
    for (let other = Math.max(0, n - SEARCH); other <= n + SEARCH; other += 1) {
      if (other === n) continue;
      if (open(key, other, false, chunk) !== null || open(key, other, true, chunk) !== null) {
        return `the chunks are reordered: in place ${n + 1} stands chunk ${other + 1}`;
      }
    }
    if (n === 0) return 'chunk 1 is altered, or the payload belongs to another header';
    return isLast && chunk.byteLength < SEALED
      ? `the ciphertext is altered in its last chunk (${n + 1}), or truncated inside it`
      : `chunk ${n + 1} is altered`;
  }
}

/** As an object: raw bytes would be made into one for every chunk, which costs a third of the speed. */
function payloadKey(fileKey: Uint8Array, nonce: Uint8Array): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync('sha256', fileKey, nonce, 'payload', 32)));
}

function chunkNonce(counter: number, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  // 48 bits of the 88 are enough for 2^64 bytes.
  nonce.writeUIntBE(counter, 5, 6);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

/** Writes text and tag to the beginning of `into`, and gives how many bytes that are. */
function seal(key: KeyObject, counter: number, isLast: boolean, plain: Uint8Array, into: Uint8Array): number {
  const cipher = createCipheriv(ALGORITHM, key, chunkNonce(counter, isLast), { authTagLength: TAG });
  into.set(cipher.update(plain));
  cipher.final();
  into.set(cipher.getAuthTag(), plain.byteLength);
  return plain.byteLength + TAG;
}

function open(key: KeyObject, counter: number, isLast: boolean, chunk: Buffer): Buffer | null {
  const body = chunk.byteLength - TAG;
  const decipher = createDecipheriv(ALGORITHM, key, chunkNonce(counter, isLast), { authTagLength: TAG });
  decipher.setAuthTag(chunk.subarray(body));
  const plain = decipher.update(chunk.subarray(0, body));
  try {
    decipher.final();
    return plain;
  } catch {
    return null;
  }
}

function refused(message: string): StrongroomError {
  return new StrongroomError('E_DECRYPT', message, {
    hint: 'nothing wrong was released; read another destination, or an older version of the object',
  });
}
