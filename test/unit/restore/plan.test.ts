import { describe, expect, it } from 'vitest';
import type { ArchiveReport } from '../../../src/archive/report.ts';
import type { Manifest } from '../../../src/catalogue/manifest.ts';
import type { ClusterName } from '../../../src/core/ids.ts';
import { describePlan, planRestore, type TargetState } from '../../../src/restore/plan.ts';

const now = new Date('2026-11-22T03:00:00Z');
const target: TargetState = {
  activeNode: 'https://bao-0:8200',
  clusterId: 'same',
  product: 'openbao',
  version: '2.6.2',
  sealType: 'shamir',
  threshold: 2,
  raftAppliedIndex: 120,
};
const report = {
  product: 'openbao',
  productVersion: '2.6.2',
  raft: { index: 100 },
  seal: { type: 'shamir', shares: 3, threshold: 2, sealedSums: 'present' },
  cautions: ['41 leases would be revoked'],
} as unknown as ArchiveReport;
const manifest = { createdAt: '2026-11-22T02:00:00Z', source: { clusterId: 'same' } } as Manifest;
const plan = (change: Partial<TargetState> = {}, seal: Partial<ArchiveReport['seal']> = {}, force = false) =>
  planRestore({
    cluster: 'prod' as ClusterName,
    target: { ...target, ...change },
    report: { ...report, seal: { ...report.seal, ...seal } },
    manifest,
    now,
    force,
  });

describe('plan of a restore', () => {
  it('uses the endpoint with the seal check for the same cluster, and says what is lost', () => {
    const same = plan();
    expect(same).toMatchObject({ force: false, sharesNeeded: 0, ageMs: 3_600_000, indexDistance: 20 });
    expect(describePlan(same, 'snapshot X').join('\n')).toContain('41 leases would be revoked');
  });

  it('forces for another cluster and asks for the shares of the source', () => {
    expect(plan({ clusterId: 'other' })).toMatchObject({ force: true, sharesNeeded: 2, indexDistance: null });
  });

  it('asks for as many shares as a target with a larger threshold wants', () => {
    expect(plan({ clusterId: 'other', threshold: 3 }).sharesNeeded).toBe(3);
  });

  it('never sends an archive without sealed sums to the endpoint that it would crash', () => {
    expect(plan({}, { sealedSums: 'absent' }).force).toBe(true);
    expect(plan({}, { sealedSums: 'unusable' }).force).toBe(true);
  });

  it('can be told to force, as after a rekey', () => {
    expect(plan({}, {}, true)).toMatchObject({ force: true, sharesNeeded: 2 });
  });

  it('refuses another product, another seal type and a smaller threshold', () => {
    for (const misfit of [{ product: 'vault' as const }, { sealType: 'awskms' }, { threshold: 1 }]) {
      expect(() => plan({ clusterId: 'other', ...misfit })).toThrow(
        expect.objectContaining({ code: 'E_PRECONDITION' }),
      );
    }
  });

  it('warns when the target is older than the snapshot', () => {
    expect(plan({ version: '2.5.9' }).warnings.join()).toContain('older');
    expect(plan({ version: '2.10.0' }).warnings.join()).not.toContain('older');
  });
});
