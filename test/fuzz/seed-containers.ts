/** The identity and the containers of the target `container`: `node test/fuzz/seed-containers.ts` makes new ones. */
import { mkdirSync, writeFileSync } from 'node:fs';
import type { Bytes } from '../../src/core/flow.ts';
import { collect } from '../../src/core/flow.ts';
import { newContainer } from '../../src/crypt/container.ts';
import { newIdentity } from '../../src/crypt/recipients.ts';
import { plaintext } from './sealed-payload.ts';

const HERE = new URL('.', import.meta.url);
/** Name, length of the plaintext, and how many other recipients its header has. */
const FILES = [
  ['empty', 0, 0],
  ['short', 200, 0],
  ['other', 100, 2],
  ['two-chunks', 64 * 1024 + 30, 1],
] as const;

const { identity, recipient } = await newIdentity('classic');
mkdirSync(new URL('containers/', HERE), { recursive: true });
writeFileSync(new URL('containers/identity.txt', HERE), `${identity.reveal()}\n`);
for (const [i, [name, bytes, others]] of FILES.entries()) {
  const more = await Promise.all(Array.from({ length: others }, async () => (await newIdentity('classic')).recipient));
  const { encrypt } = await newContainer([...more, recipient]);
  const sealed = await collect(encrypt(one(plaintext(i + 1, bytes))), 2 ** 20);
  writeFileSync(new URL(`containers/${name}.age`, HERE), sealed);
}

async function* one(bytes: Uint8Array): Bytes {
  yield bytes;
}
