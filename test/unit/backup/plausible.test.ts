import { describe, expect, it } from 'vitest';
import { compareWithPrevious, implausible } from '../../../src/backup/plausible.ts';
import type { Manifest } from '../../../src/catalogue/manifest.ts';

const limits = { warnFall: 0.2, maxFall: 0.5 };
const previous = (index: number, records: number, bytes: number): Manifest =>
  ({ snapshot: '01JD', archive: { raft: { index }, state: { records, bytes } } }) as Manifest;
const archive = (index: number, records: number, bytes: number): Parameters<typeof compareWithPrevious>[0] =>
  ({ raft: { index }, state: { records, bytes } }) as Parameters<typeof compareWithPrevious>[0];

describe('comparison with the last good snapshot', () => {
  it('accepts growth, an equal index and the first snapshot', () => {
    expect(compareWithPrevious(archive(10, 100, 1000), previous(10, 100, 1000), limits)).toEqual({
      failures: [],
      warnings: [],
    });
    expect(compareWithPrevious(archive(1, 1, 1), null, limits).failures).toEqual([]);
  });

  it('fails an index that fell by one', () => {
    const { failures } = compareWithPrevious(archive(9, 100, 1000), previous(10, 100, 1000), limits);
    expect(implausible(failures)).toMatchObject({ code: 'E_SNAPSHOT_STALE', retryable: false });
  });

  it('warns at a fall above the first limit and fails above the second', () => {
    expect(compareWithPrevious(archive(11, 80, 1000), previous(10, 100, 1000), limits).warnings).toEqual([]);
    expect(compareWithPrevious(archive(11, 79, 1000), previous(10, 100, 1000), limits).warnings).toHaveLength(1);
    expect(compareWithPrevious(archive(11, 50, 1000), previous(10, 100, 1000), limits).failures).toEqual([]);
    const { failures } = compareWithPrevious(archive(11, 49, 400), previous(10, 100, 1000), limits);
    expect(failures.map(({ code }) => code)).toEqual(['E_SNAPSHOT_IMPLAUSIBLE', 'E_SNAPSHOT_IMPLAUSIBLE']);
  });
});
