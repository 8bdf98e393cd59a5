/**
 * The payload of a container, chunk by chunk. An input is not a ciphertext (three chunks are 190 KiB, and noise) but a
 * list of edits to one: four bytes each, an operation and its three operands.
 */
import { isError } from '../../src/core/errors.ts';
import { PayloadDecrypter } from '../../src/crypt/payload.ts';
import { type Target, Violation } from './engine/target.ts';
import { CHUNK, NONCE, plaintext, sealPayload, TAG } from './sealed-payload.ts';

const SEALED = CHUNK + TAG;
const FILE_KEY = Buffer.alloc(16, 7);

// Two of the same file key, one of another; ends inside a chunk, at its end, and before the first byte.
const ORIGINALS = [
  [FILE_KEY, 1, 2 * CHUNK + 100],
  [FILE_KEY, 2, 2 * CHUNK],
  [Buffer.alloc(16, 8), 3, CHUNK + 1],
  [FILE_KEY, 4, 0],
].map(([key, name, bytes]) => {
  const plain = plaintext(Number(name), Number(bytes));
  return { plain, sealed: sealPayload(key as Buffer, Buffer.alloc(NONCE, Number(name)), plain) };
});

export const payload: Target = {
  maxBytes: 64,
  covers: ['/src/crypt/payload.'],
  codes: ['E_DECRYPT'],
  tokens: [],
  seeds: () => [Buffer.alloc(0), ...ORIGINALS.map((_, i) => Buffer.from([0, i, 0, 0]))],
  run: async (script) => {
    const sealed = edit(script);
    const { released, error } = decrypt(sealed, pieceSizes(script));
    const original = ORIGINALS.filter(({ sealed: whole }) => same(whole, sealed) >= NONCE);
    // All that a reader may let out: the chunks before the first byte that is another one.
    const allowed = original.map((each) => each.plain.subarray(0, goodBytes(each, sealed)));
    const longest = allowed.reduce((a, b) => (a.length >= b.length ? a : b), Buffer.alloc(0));
    const bytes = Buffer.concat(released);
    if (!bytes.equals(longest.subarray(0, bytes.length))) throw new Violation('it gave out what was never encrypted');
    const isWhole = original.some((each) => each.sealed.equals(sealed));
    if (error === null && !isWhole) throw new Violation('it came to a good end with an altered ciphertext');
    if (isError(error) && isWhole && !sealed.equals(ORIGINALS[2]?.sealed ?? sealed)) {
      throw new Violation('it refused a good ciphertext');
    }
    if (error !== null) throw error;
  },
};

function edit(script: Buffer): Buffer {
  let sealed = ORIGINALS[(script[1] ?? 0) % ORIGINALS.length]?.sealed ?? Buffer.alloc(0);
  for (let i = 0; i + 3 < script.length; i += 4) {
    const [operation = 0, a = 0, b = 0, c = 0] = script.subarray(i, i + 4);
    sealed = EDITS[operation % EDITS.length]?.(sealed, a, b, c) ?? sealed;
  }
  return sealed.subarray(0, 5 * SEALED);
}

type Edit = (sealed: Buffer, a: number, b: number, c: number) => Buffer;

const EDITS: readonly Edit[] = [
  (_, a) => ORIGINALS[a % ORIGINALS.length]?.sealed ?? Buffer.alloc(0),
  // One byte, near the edge of a chunk or inside it.
  (sealed, a, b, c) => {
    const copy = Buffer.from(sealed);
    const at = edge(sealed, a, b);
    if (at < copy.length) copy[at] = (copy[at] ?? 0) ^ c;
    return copy;
  },
  (sealed, a, b) => sealed.subarray(0, edge(sealed, a, b)),
  // A chunk out, doubled, or two of them in each other's place.
  (sealed, a) => withChunks(sealed, (chunks) => chunks.toSpliced(a % chunks.length, 1)),
  (sealed, a, b) => withChunks(sealed, (chunks) => chunks.toSpliced(b % (chunks.length + 1), 0, chunkAt(chunks, a))),
  (sealed, a, b) =>
    withChunks(sealed, (chunks) =>
      chunks.with(a % chunks.length, chunkAt(chunks, b)).with(b % chunks.length, chunkAt(chunks, a)),
    ),
  // A chunk of another file; its nonce; bytes behind the end.
  (sealed, a, b, c) =>
    withChunks(sealed, (chunks) => chunks.with(a % chunks.length, chunkAt(chunksOf(originalAt(b)), c))),
  (sealed, a) => Buffer.concat([originalAt(a).subarray(0, NONCE), sealed.subarray(NONCE)]),
  (sealed, a, b) => Buffer.concat([sealed, Buffer.alloc(a, b)]),
  (sealed, a, b) => Buffer.concat([sealed.subarray(0, edge(sealed, a, b)), sealed.subarray(edge(sealed, a, b) + 1)]),
  (sealed, a) => Buffer.concat([sealed, originalAt(a).subarray(NONCE)]),
];

function originalAt(index: number): Buffer {
  return ORIGINALS[index % ORIGINALS.length]?.sealed ?? Buffer.alloc(0);
}

/** Up to 128 bytes around the beginning of a chunk, or anywhere. */
function edge(sealed: Buffer, a: number, b: number): number {
  const at = (a & 0x80) === 0 ? NONCE + (a % 4) * SEALED + b - 128 : ((a & 0x7f) * 256 + b) * 6;
  return Math.max(0, Math.min(sealed.length, at));
}

function chunksOf(sealed: Buffer): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = NONCE; at < sealed.length; at += SEALED) chunks.push(sealed.subarray(at, at + SEALED));
  return chunks;
}

function withChunks(sealed: Buffer, change: (chunks: Buffer[]) => Buffer[]): Buffer {
  const chunks = chunksOf(sealed);
  return chunks.length === 0 ? sealed : Buffer.concat([sealed.subarray(0, NONCE), ...change(chunks)]);
}

function chunkAt(chunks: readonly Buffer[], index: number): Buffer {
  return chunks[index % Math.max(1, chunks.length)] ?? Buffer.alloc(0);
}

/** Plaintext of the whole chunks before the first difference; all of it when there is none. */
function goodBytes({ plain, sealed: whole }: { plain: Buffer; sealed: Buffer }, sealed: Buffer): number {
  const equal = same(whole, sealed);
  if (equal === whole.length && sealed.length === whole.length) return plain.length;
  return Math.min(plain.length, Math.floor(Math.max(0, equal - NONCE) / SEALED) * CHUNK);
}

function same(a: Buffer, b: Buffer): number {
  const length = Math.min(a.length, b.length);
  if (a.subarray(0, length).equals(b.subarray(0, length))) return length;
  let [low, high] = [0, length];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (a.subarray(low, middle).equals(b.subarray(low, middle))) low = middle;
    else high = middle;
  }
  return low;
}

function decrypt(sealed: Buffer, sizes: readonly number[]): { released: Buffer[]; error: unknown } {
  const decrypter = new PayloadDecrypter(FILE_KEY);
  const released: Buffer[] = [];
  try {
    for (let at = 0, i = 0; at < sealed.length; i += 1) {
      const end = at + (sizes[i % sizes.length] ?? sealed.length);
      for (const piece of decrypter.push(sealed.subarray(at, end))) released.push(Buffer.from(piece));
      at = end;
    }
    for (const piece of decrypter.end()) released.push(Buffer.from(piece));
    return { released, error: null };
  } catch (error) {
    return { released, error };
  }
}

/** Pieces as the edits say, so that the same input is always cut alike. */
function pieceSizes(script: Buffer): number[] {
  const [a = 0, b = 0] = script.subarray(-2);
  return [1 + a * 700, 1 + b, SEALED - (a % 3), SEALED];
}
