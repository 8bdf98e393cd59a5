/** Payloads of age v1 with keys and nonces of our choice, written from the specification: the same in every run. */
import { createCipheriv, hkdfSync } from 'node:crypto';

export const CHUNK = 64 * 1024;
export const TAG = 16;
export const NONCE = 16;

/** Nonce and chunks of `plain`. */
export function sealPayload(fileKey: Uint8Array, nonce: Uint8Array, plain: Uint8Array): Buffer {
  const key = Buffer.from(hkdfSync('sha256', fileKey, nonce, 'payload', 32));
  const parts: Uint8Array[] = [nonce];
  const chunks = Math.max(1, Math.ceil(plain.length / CHUNK));
  for (let i = 0; i < chunks; i += 1) {
    const counter = Buffer.alloc(12);
    counter.writeUInt32BE(i, 7);
    counter[11] = i === chunks - 1 ? 1 : 0;
    const cipher = createCipheriv('chacha20-poly1305', key, counter, { authTagLength: TAG });
    const body = cipher.update(plain.subarray(i * CHUNK, (i + 1) * CHUNK));
    cipher.final();
    parts.push(body, cipher.getAuthTag());
  }
  return Buffer.concat(parts);
}

/** `bytes` of plaintext that differ from place to place and from one `name` to another. */
export function plaintext(name: number, bytes: number): Buffer {
  const plain = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 1) plain[at] = (Math.imul(at ^ (name << 20), 0x9e3779b1) >>> 24) & 0xff;
  return plain;
}
