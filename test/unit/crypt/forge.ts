/** A payload that no honest writer makes, by somebody who has the file key. Written from the specification alone. */
import { createCipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { Decrypter } from 'age-encryption';
import type { Container } from '../../../src/crypt/container.ts';

/** `plain` (full chunks) without a last flag, and then an empty chunk that has it. */
export async function emptyLastChunk(container: Container, plain: Uint8Array): Promise<Buffer> {
  const decrypter = new Decrypter();
  decrypter.addIdentity(container.identity.reveal());
  const fileKey = await decrypter.decryptHeader(Uint8Array.from(container.header));
  const nonce = randomBytes(16);
  const key = Buffer.from(hkdfSync('sha256', fileKey, nonce, 'payload', 32));
  const parts: Uint8Array[] = [container.header, nonce];
  let counter = 0;
  for (let at = 0; at < plain.byteLength; at += 65_536)
    parts.push(sealed(key, counter++, 0, plain.subarray(at, at + 65_536)));
  parts.push(sealed(key, counter, 1, Buffer.alloc(0)));
  return Buffer.concat(parts);
}

function sealed(key: Buffer, counter: number, flag: number, plain: Uint8Array): Buffer {
  const nonce = Buffer.concat([Buffer.alloc(10), Buffer.from([counter, flag])]);
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, {
    authTagLength: 16,
  });
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}
