import { describe, expect, it } from 'vitest';
import type { ArchiveReport } from '../../../src/archive/report.ts';
import type { Manifest } from '../../../src/catalogue/manifest.ts';
import type { ClusterName } from '../../../src/core/ids.ts';
import { describePlan } from '../../../src/restore/describe.ts';
import type { TargetContents } from '../../../src/restore/look.ts';
import { planRestore, type TargetState } from '../../../src/restore/plan.ts';

const now = new Date('2026-11-22T03:00:00Z');
const target: TargetState = {
  activeNode: 'https://bao-0:8200',
  clusterId: 'same',
  product: 'openbao',
  version: '2.6.2',
  sealType: 'shamir',
  threshold: 2,
  raftAppliedIndex: 120,
  readTimeoutMs: null,
};
const report = {
  product: 'openbao',
  productVersion: '2.6.2',
  raft: { index: 100 },
  bytes: 2 ** 20,
  members: [{ name: 'state.bin', bytes: 3 * 2 ** 20, sha256: '' }],
  seal: { type: 'shamir', shares: 3, threshold: 2, sealedSums: 'present' },
  state: { records: 50, staticRoles: 0, leases: [{ path: 'database/creds/app', count: 41 }] },
  cautions: ['41 leases would be revoked'],
} as unknown as ArchiveReport;
/** The target now: 30 leases more of one kind, 5 of another, and some that ended. */
const contents = {
  report: {
    state: {
      records: 80,
      leases: [
        { path: 'database/creds/app', count: 71 },
        { path: 'rabbitmq/creds/app', count: 5 },
      ],
    },
  },
  tookMs: 100,
} as unknown as TargetContents;
const manifest = { createdAt: '2026-11-22T02:00:00Z', source: { clusterId: 'same' } } as Manifest;
const plan = (
  change: Partial<TargetState> = {},
  seal: Partial<ArchiveReport['seal']> = {},
  force = false,
  more: { contents?: TargetContents | null; report?: Partial<ArchiveReport> } = {},
) =>
  planRestore({
    cluster: 'prod' as ClusterName,
    into: 'prod' as ClusterName,
    contents: more.contents === undefined ? contents : more.contents,
    verifyMs: 1000,
    target: { ...target, ...change },
    report: { ...report, ...more.report, seal: { ...report.seal, ...seal } },
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

  it('says of a smaller threshold that the node must be restarted before it takes the right shares', () => {
    const stale = plan({ clusterId: 'other', threshold: 1 });
    expect(stale.sharesNeeded).toBe(2);
    expect(stale.warnings.join()).toMatch(
      /counts 1 shares, the snapshot 2: \S+ will refuse .* until its process is restarted/,
    );
    expect(plan({ clusterId: 'other', threshold: 2 }).warnings.join()).not.toContain('restarted');
  });

  it('says by path which leases will be revoked, and which will be forgotten', () => {
    const text = describePlan(plan(), 'snapshot X').join('\n');
    expect(text).toMatch(/leases +41 of the snapshot, revoked for real .*: database\/creds\/app 41/);
    expect(text).toMatch(
      /leases +at least 35 made since are forgotten, .*: database\/creds\/app 30, rabbitmq\/creds\/app 5/,
    );
    expect(text).toContain('50 records, 1.00 MiB; the target has 80 now');
    expect(text).toContain('openbao 2.6.2, seal shamir 2 of 3, into openbao 2.6.2, seal shamir');
    expect(text).toContain('the server needs 3.00 MiB in its temporary directory');
  });

  it('without a look at the target says nothing of what is forgotten, and that nothing is kept', () => {
    const blind = plan({}, {}, false, { contents: null });
    expect(blind).toMatchObject({ safety: false, records: { snapshot: 50, now: null } });
    const text = describePlan(blind, 'snapshot X').join('\n');
    expect(text).not.toContain('forgotten');
    expect(text).toMatch(/safety +none: what the target holds now is lost/);
    const stump = plan({}, {}, false, { contents: { unknown: 'the archive ends too early' } });
    expect(stump.warnings.join()).toMatch(/gives no snapshot \(the archive ends too early\)/);
  });

  it('knows the static roles, and an upload that is too large for the time that the listener gives', () => {
    const large = { bytes: 3 * 2 ** 30, state: { ...report.state, staticRoles: 2 } };
    const { warnings, ...rest } = plan({}, {}, false, { report: large });
    expect(warnings.join()).toMatch(/within http_read_timeout \(30 s, the default, .*\): 3072 MiB need 103 MiB\/s/);
    expect(describePlan({ warnings, ...rest }, 'X').join('\n')).toMatch(/roles +2 static roles/);
    expect(plan({ readTimeoutMs: 1_800_000 }, {}, false, { report: large }).warnings.join()).not.toContain(
      'read_timeout',
    );
  });

  it('does not pretend to know that products fit', () => {
    expect(plan({ product: 'unknown' }).warnings.join()).toContain('the product of the target is not known');
    const unknown = { product: 'unknown' } as const;
    expect(plan({}, {}, false, { report: unknown }).warnings.join()).toContain('the product of the snapshot is not');
  });

  it('refuses another product and another seal type', () => {
    for (const misfit of [{ product: 'vault' as const }, { sealType: 'awskms' }]) {
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
