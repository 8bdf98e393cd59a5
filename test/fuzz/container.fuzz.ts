/** Containers as they lie in a bucket: the age header with its stanzas and MAC, then the payload. */
import { readFileSync } from 'node:fs';
import { isError } from '../../src/core/errors.ts';
import type { Bytes } from '../../src/core/flow.ts';
import { decrypt } from '../../src/crypt/container.ts';
import { headerHash } from '../../src/crypt/header.ts';
import { IDENTITY } from './documents.ts';
import { mutate } from './engine/mutate.ts';
import { Random } from './engine/random.ts';
import { type Target, Violation } from './engine/target.ts';

const FILES = ['empty', 'short', 'other', 'two-chunks'] as const;
const FOOT = Buffer.from('\n--- ');

type Original = { sealed: Buffer; header: Buffer; sha256: string; plain: Buffer };

const ORIGINALS: Original[] = await Promise.all(
  FILES.map(async (name) => {
    const sealed = readFileSync(new URL(`containers/${name}.age`, import.meta.url));
    const header = headOf(sealed);
    const { released, error } = await open(sealed, sealed.length, undefined);
    if (error !== null) throw error;
    return { sealed, header, sha256: headerHash(header), plain: Buffer.concat(released) };
  }),
);

const tokens = [
  'age-encryption.org/v1\n',
  '-> X25519 ',
  '-> scrypt AAAA 18\n',
  '-> mlkem768x25519 AA\n',
  '-> grease\n\n',
  '\n--- ',
  '\n',
  '\r\n',
  'A'.repeat(64),
  '=',
].map((text) => Buffer.from(text));

export const container: Target = {
  maxBytes: 80 * 1024,
  covers: ['/src/crypt/container.', '/src/crypt/header.', '/src/crypt/payload.', 'age-encryption/dist/'],
  codes: ['E_DECRYPT'],
  tokens,
  seeds: () => ORIGINALS.map(({ sealed }) => sealed),
  mutate: (input, random) => {
    // The header is one part in a thousand: by chance it would seldom be met.
    const header = headOf(input);
    const body = input.subarray(header.length);
    const other = random.pick(ORIGINALS);
    if (random.isOneIn(4)) return Buffer.concat([other.header, body]);
    const changed = mutate(header, other.header, random, { tokens, maxBytes: 4096 });
    return Buffer.concat([changed, body]);
  },
  run: async (input) => {
    const size = 1 + new Random(input.length).below(3000);
    const free = await open(input, size, undefined);
    check(input, free, 'free');
    for (const original of ORIGINALS.slice(1, 3)) {
      const bound = await open(input, input.length, original.sha256);
      check(input, bound, original.sha256);
      if (bound.error === null && !original.header.equals(headOf(input))) {
        throw new Violation('it opened another header than the one that it was bound to');
      }
    }
    if (free.error !== null) throw free.error;
  },
};

type Outcome = { released: Buffer[]; error: unknown };

/** Whatever comes out is the beginning of an original with this header, and all of it when the end is good. */
function check(input: Buffer, { released, error }: Outcome, how: string): void {
  const bytes = Buffer.concat(released);
  const header = headOf(input);
  const same = ORIGINALS.filter((original) => original.header.equals(header));
  if (error !== null && !isError(error)) throw error;
  if (bytes.length > 0 && !same.some(({ plain }) => plain.subarray(0, bytes.length).equals(bytes))) {
    throw new Violation(`it gave out what was never encrypted (${how})`);
  }
  if (error === null && !same.some(({ sealed, plain }) => sealed.equals(input) && plain.equals(bytes))) {
    throw new Violation(`it came to a good end with an altered container (${how})`);
  }
}

async function open(sealed: Buffer, size: number, headerSha256: string | undefined): Promise<Outcome> {
  const released: Buffer[] = [];
  try {
    const options = headerSha256 === undefined ? {} : { headerSha256 };
    for await (const piece of decrypt([IDENTITY], options)(pieces(sealed, size))) released.push(Buffer.from(piece));
    return { released, error: null };
  } catch (error) {
    return { released, error };
  }
}

/** Up to the newline behind the MAC; all of it when there is none. */
function headOf(sealed: Buffer): Buffer {
  const foot = sealed.indexOf(FOOT);
  const end = foot === -1 ? -1 : sealed.indexOf('\n', foot + 1);
  return end === -1 ? sealed : sealed.subarray(0, end + 1);
}

async function* pieces(input: Buffer, size: number): Bytes {
  for (let at = 0; at < input.length; at += size) yield input.subarray(at, at + size);
}
