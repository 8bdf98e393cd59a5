/** The order in which copies are read again: properties of it, and what a planted name can do to it. */
import fc from 'fast-check';
import { ulid } from 'ulid';
import { describe, expect, it } from 'vitest';
import type { CatalogueEntry } from '../../../src/catalogue/catalogue.ts';
import type { RunId, SnapshotId } from '../../../src/core/ids.ts';
import { copiesByNeed } from '../../../src/snapshots/choose-copies.ts';
import type { ProofName } from '../../../src/store/record-layout.ts';

const START = Date.UTC(2027, 0, 1);
const HOUR = 3_600_000;
const NOW = new Date(START + 2000 * HOUR);
const NAMES = ['a', 'b', 'c'];
const idAt = (hour: number): SnapshotId => ulid(START + hour * HOUR) as SnapshotId;

const worlds = fc.uniqueArray(fc.integer({ min: 0, max: 1000 }), { minLength: 1, maxLength: 12 }).chain((hours) => {
  const ids = hours.toSorted((a, b) => a - b).map(idAt);
  return fc.record({
    entries: fc.tuple(
      ...ids.map((snapshot) =>
        fc.subarray(NAMES, { minLength: 1 }).map((destinations): CatalogueEntry => ({ snapshot, destinations })),
      ),
    ),
    proofs: fc.array(
      fc.record({
        snapshot: fc.constantFrom(...ids),
        destination: fc.constantFrom(...NAMES),
        proof: fc.integer({ min: 1001, max: 2000 }).map((hour) => idAt(hour) as string as RunId),
        verdict: fc.constantFrom('good' as const, 'bad' as const),
      }),
      { maxLength: 40 },
    ),
  });
});

const lastOf = (proofs: readonly ProofName[], snapshot: string, destination: string): string | undefined =>
  proofs
    .filter((proof) => proof.snapshot === snapshot && proof.destination === destination)
    .map(({ proof }) => proof as string)
    .toSorted()
    .at(-1);

describe('every copy once, and no other', () => {
  it('holds', () => {
    fc.assert(
      fc.property(worlds, ({ entries, proofs }) => {
        const expected = entries.flatMap(({ snapshot, destinations }) =>
          destinations.map((name) => `${snapshot} ${name}`),
        );
        const found = copiesByNeed(entries, proofs, NOW).map(
          ({ snapshot, destination }) => `${snapshot} ${destination}`,
        );
        expect(found.toSorted()).toEqual(expected.toSorted());
      }),
    );
  });
});

describe('those never read come first, the newest snapshot before the others; then the stalest', () => {
  it('holds', () => {
    fc.assert(
      fc.property(worlds, ({ entries, proofs }) => {
        const order = copiesByNeed(entries, proofs, NOW).map((copy) => ({
          ...copy,
          last: lastOf(proofs, copy.snapshot, copy.destination),
        }));
        for (const [i, next] of order.slice(1).entries()) {
          const before = order[i];
          if (before === undefined) throw new Error('no copy before');
          expect(before.provenAt === null).toBe(before.last === undefined);
          if (next.last === undefined) {
            expect(before.last).toBeUndefined();
            expect(before.snapshot >= next.snapshot).toBe(true);
          } else if (before.last !== undefined) {
            expect(before.last.slice(0, 10) <= next.last.slice(0, 10)).toBe(true);
          }
        }
      }),
    );
  });
});

it('is the same whatever order the names come in', () => {
  fc.assert(
    fc.property(worlds, ({ entries, proofs }) => {
      expect(copiesByNeed(entries, proofs.toReversed(), NOW)).toEqual(copiesByNeed(entries, proofs, NOW));
    }),
  );
});

it('a copy that was just read goes to the end, good or bad', () => {
  fc.assert(
    fc.property(worlds, fc.constantFrom('good' as const, 'bad' as const), ({ entries, proofs }, verdict) => {
      const [first] = copiesByNeed(entries, proofs, NOW);
      if (first === undefined) throw new Error('no copy');
      const { snapshot, destination } = first;
      const proof = idAt(2000) as string as RunId;
      const after = copiesByNeed(entries, [...proofs, { snapshot, destination, proof, verdict }], NOW);
      const isRead = ({ provenAt }: { provenAt: Date | null }): boolean => provenAt?.getTime() === NOW.getTime();
      expect(
        after.findIndex((copy) => copy.snapshot === snapshot && copy.destination === destination),
      ).toBeGreaterThanOrEqual(after.findIndex(isRead));
      expect(after.slice(after.findIndex(isRead)).every(isRead)).toBe(true);
    }),
  );
});

it('a reading of the year 2100 counts for nothing, and one of a clock that is minutes ahead counts', () => {
  const snapshot = idAt(1);
  const entries = [{ snapshot, destinations: ['a'] }];
  const proofAt = (time: number): ProofName => ({
    snapshot,
    destination: 'a',
    proof: ulid(time) as RunId,
    verdict: 'good',
  });
  const provenAt = (...times: number[]): Date | null | undefined =>
    copiesByNeed(entries, times.map(proofAt), NOW)[0]?.provenAt;
  expect(provenAt(Date.UTC(2100, 0, 1))).toBeNull();
  expect(provenAt(Date.UTC(2100, 0, 1), START + 1500 * HOUR)).toEqual(new Date(START + 1500 * HOUR));
  expect(provenAt(NOW.getTime() + 5 * 60_000)).toEqual(new Date(NOW.getTime() + 5 * 60_000));
});
