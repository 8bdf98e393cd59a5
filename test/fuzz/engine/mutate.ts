/** Blind changes of bytes: what a mutation is depends on nothing but the bytes, the tokens and the random numbers. */
import type { Random } from './random.ts';

const BYTES = [0, 1, 0x0a, 0x20, 0x30, 0x7f, 0x80, 0xff] as const;
const NUMBERS = [
  0,
  1,
  16,
  127,
  128,
  255,
  256,
  511,
  512,
  513,
  8191,
  8192,
  32_767,
  65_535,
  2 ** 31 - 1,
  2 ** 32 - 1,
] as const;
const MAX_STACKED = 5;
const MAX_PIECE = 64;

type Change = (input: Buffer, random: Random, other: Buffer, tokens: readonly Buffer[]) => Buffer;

const CHANGES: readonly Change[] = [
  (input, random) => withByte(input, random.below(input.length), (byte) => byte ^ (1 << random.below(8))),
  (input, random) => withByte(input, random.below(input.length), () => random.below(256)),
  (input, random) => withByte(input, random.below(input.length), () => random.pick(BYTES)),
  (input, random) => withByte(input, random.below(input.length), (byte) => byte + random.below(33) - 16),
  (input, random) => overwrite(input, random.below(input.length), numberBytes(random)),
  (input, random) => remove(input, random.below(input.length), 1 + random.below(pieceBytes(input, random))),
  (input, random) => insert(input, random.below(input.length + 1), random.bytes(1 + random.below(8))),
  (input, random) => insert(input, random.below(input.length + 1), pieceOf(input, random)),
  (input, random) => overwrite(input, random.below(input.length), pieceOf(input, random)),
  (input, random, other) => insert(input, random.below(input.length + 1), pieceOf(other, random)),
  (input, random, other) => overwrite(input, random.below(input.length), pieceOf(other, random)),
  (input, random, other) =>
    Buffer.concat([input.subarray(0, random.below(input.length + 1)), other.subarray(random.below(other.length + 1))]),
  (input, random) => input.subarray(0, random.below(input.length + 1)),
  (input, random, _, tokens) => insert(input, random.below(input.length + 1), token(tokens, random)),
  (input, random, _, tokens) => overwrite(input, random.below(input.length), token(tokens, random)),
];

/** A changed copy of `input`, at most `maxBytes` long; `other` lends pieces. Neither is written to. */
export function mutate(
  input: Buffer,
  other: Buffer,
  random: Random,
  { tokens, maxBytes }: { tokens: readonly Buffer[]; maxBytes: number },
): Buffer {
  let changed = input;
  for (let left = 1 + random.below(MAX_STACKED); left > 0; left -= 1) {
    changed = random.pick(CHANGES)(changed, random, other, tokens);
  }
  return Buffer.from(changed.subarray(0, maxBytes));
}

function withByte(input: Buffer, at: number, change: (byte: number) => number): Buffer {
  const copy = Buffer.from(input);
  const byte = copy[at];
  if (byte !== undefined) copy[at] = change(byte) & 0xff;
  return copy;
}

function overwrite(input: Buffer, at: number, piece: Buffer): Buffer {
  const copy = Buffer.from(input);
  piece.copy(copy, at);
  return copy;
}

function insert(input: Buffer, at: number, piece: Buffer): Buffer {
  return Buffer.concat([input.subarray(0, at), piece, input.subarray(at)]);
}

function remove(input: Buffer, at: number, bytes: number): Buffer {
  return Buffer.concat([input.subarray(0, at), input.subarray(at + bytes)]);
}

/** Mostly short, now and then a large part of the input. */
function pieceBytes(input: Buffer, random: Random): number {
  return random.isOneIn(4) ? input.length : Math.min(input.length, MAX_PIECE);
}

function pieceOf(input: Buffer, random: Random): Buffer {
  const at = random.below(input.length);
  return input.subarray(at, at + 1 + random.below(pieceBytes(input, random)));
}

function token(tokens: readonly Buffer[], random: Random): Buffer {
  return tokens.length === 0 ? random.bytes(2) : random.pick(tokens);
}

function numberBytes(random: Random): Buffer {
  const value = random.pick(NUMBERS);
  const bytes = Buffer.alloc(4);
  if (random.isOneIn(2)) bytes.writeUInt32BE(value);
  else bytes.writeUInt32LE(value);
  const width = random.pick([1, 2, 4]);
  return random.isOneIn(2) ? bytes.subarray(0, width) : bytes.subarray(4 - width);
}
