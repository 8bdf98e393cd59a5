/** Damage of every kind, as values: fast-check draws it, prints it with its seed when something fails, and makes it smaller. */
import * as fc from 'fast-check';

/** Places are taken modulo the length of what is damaged. */
export type Damage =
  | { kind: 'flip'; at: number; bit: number }
  | { kind: 'cut'; at: number }
  | { kind: 'drop'; at: number; bytes: number }
  | { kind: 'overwrite'; at: number; with: Uint8Array }
  | { kind: 'insert'; at: number; with: Uint8Array }
  | { kind: 'swap'; at: number; and: number; bytes: number };

const place = fc.nat({ max: 2 ** 24 });
const flip = fc.record({ kind: fc.constant('flip' as const), at: place, bit: fc.nat({ max: 7 }) });
const cut = fc.record({ kind: fc.constant('cut' as const), at: place });
const few = fc.uint8Array({ minLength: 1, maxLength: 40 });

/** One flipped bit, or the end cut off: what disks and broken transfers do. */
export const flipOrCut: fc.Arbitrary<Damage> = fc.oneof({ weight: 3, arbitrary: flip }, cut);

export const anyDamage: fc.Arbitrary<Damage> = fc.oneof(
  { weight: 4, arbitrary: flip },
  { weight: 2, arbitrary: cut },
  fc.record({ kind: fc.constant('drop' as const), at: place, bytes: fc.integer({ min: 1, max: 5000 }) }),
  fc.record({ kind: fc.constant('overwrite' as const), at: place, with: few }),
  fc.record({ kind: fc.constant('insert' as const), at: place, with: few }),
  fc.record({ kind: fc.constant('swap' as const), at: place, and: place, bytes: fc.integer({ min: 1, max: 2000 }) }),
);

/** `bytes` with this damage; it may happen to change nothing, as when equal bytes are swapped. */
export function damaged(bytes: Buffer, damage: Damage): Buffer {
  const at = bytes.length === 0 ? 0 : damage.at % bytes.length;
  switch (damage.kind) {
    case 'flip': {
      const copy = Buffer.from(bytes);
      copy[at] = (copy[at] ?? 0) ^ (1 << damage.bit);
      return copy;
    }
    case 'cut':
      return Buffer.from(bytes.subarray(0, at));
    case 'drop':
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + damage.bytes)]);
    case 'overwrite': {
      const copy = Buffer.from(bytes);
      copy.set(damage.with.subarray(0, copy.length - at), at);
      return copy;
    }
    case 'insert':
      return Buffer.concat([bytes.subarray(0, at), damage.with, bytes.subarray(at)]);
    case 'swap': {
      const [first, second] = [at, damage.and % bytes.length].toSorted((x, y) => x - y) as [number, number];
      const length = Math.min(damage.bytes, second - first, bytes.length - second);
      return Buffer.concat([
        bytes.subarray(0, first),
        bytes.subarray(second, second + length),
        bytes.subarray(first + length, second),
        bytes.subarray(first, first + length),
        bytes.subarray(second + length),
      ]);
    }
  }
}
