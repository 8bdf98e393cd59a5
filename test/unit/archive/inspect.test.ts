import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { cautions, renderReport } from '../../../src/archive/inspect.ts';
import { readArchive } from '../../../src/archive/read.ts';
import type { ArchiveReport } from '../../../src/archive/report.ts';
import * as build from '../../support/archive-builder.ts';

const REAL = await readFile(new URL('../../fixtures/archives/openbao-2.7.2-static.snap', import.meta.url));
const report = await readArchive(build.chunked(REAL));
const plain: ArchiveReport = {
  ...report,
  seal: { type: 'shamir', shares: 5, threshold: 3, recovery: null, keyIds: [], sealedSums: 'present' },
  state: {
    ...report.state,
    leases: [],
    leaseCount: 0,
    auditDevices: 0,
    namesActiveNode: false,
    terms: [{ term: 1, records: 9 }],
  },
};
const withState = (state: Partial<ArchiveReport['state']>) =>
  cautions({ ...plain, state: { ...plain.state, ...state } });

describe('cautions', () => {
  it('are only about the key shares when there is nothing else', () => {
    expect(cautions(plain)).toEqual(['opens only with 3 of the 5 unseal key shares of the time it was taken']);
  });

  it('count leases, those of secrets engines apart', () => {
    const leases = [
      { path: 'rabbitmq/creds/r', count: 30 },
      { path: 'auth/token/create', count: 10 },
      { path: 'namespaces/x/auth/userpass/login/ada', count: 1 },
    ];
    expect(withState({ leases, leaseCount: 41 })).toContain(
      '41 leases would be revoked by an un-isolated restore as they expire, 30 of them of secrets engines',
    );
  });

  it.each([
    [{ staticRoles: 1 }, /^1 static role: .* rotates/],
    [{ walEntries: 2 }, /^2 WAL entries: .* rolls/],
    [{ auditDevices: 1 }, /^1 audit device: /],
    [{ namesActiveNode: true }, /forward writes/],
    [
      {
        terms: [
          { term: 1, records: 1200 },
          { term: 4, records: 2 },
        ],
      },
      /^1,200 records still encrypted with barrier keys older than term 4/,
    ],
  ])('speak of %j', (state, sentence) => {
    const found = withState(state);
    expect(found).toHaveLength(2);
    expect(found[1]).toMatch(sentence);
  });

  it('name the seal key, the missing sums and the unknown product', () => {
    const arn = 'arn:aws:kms:eu-central-1:111122223333:key/1234';
    const seal = { ...plain.seal, type: 'awskms', keyIds: [arn], sealedSums: 'absent' as const };
    expect(cautions({ ...plain, seal, product: 'unknown' })).toEqual([
      `seal awskms: opens only with the key ${arn}; recovery keys cannot unseal`,
      'SHA256SUMS.sealed is absent: only for scratch clusters, by force',
      'neither the mount tables of Vault nor those of OpenBao are recognised',
    ]);
  });

  it('stand in the report', () => {
    expect(report.cautions).toEqual(cautions(report));
    expect(report.cautions).toContain('seal static: opens only with the key throwaway-1; recovery keys cannot unseal');
  });
});

describe('renderReport', () => {
  it('is aligned text with every part', () => {
    const text = renderReport(report);
    expect(text).toMatch(/^archive {6}64,025 bytes, gzip stored, written 2026-/);
    expect(text).toMatch(/^seal {9}static, 1 of 1, recovery keys 2 of 3$/m);
    expect(text).toMatch(/^ {2}n1 {2}127\.0\.0\.1:18311 {2}voter$/m);
    expect(text).toMatch(/^ {2}pki\/issue\/web +3$/m);
    expect(text).toContain('\ncautions\n  - seal static');
    expect(text).not.toMatch(/ $/m);
    const sizes = text.split('\n').filter((line) => /^ {2}(logical|auth)\/.* bytes$/.test(line));
    expect(sizes.length).toBeGreaterThan(5);
    expect(new Set(sizes.map((line) => line.length)).size).toBe(1);
  });

  it('shows the largest of ten thousand mounts, and says how many more there are', () => {
    const mounts = Array.from({ length: 10_000 }, (_, i) => ({
      area: `logical/${i}`,
      namespace: null,
      records: 1,
      bytes: 10_000 - i,
    }));
    const text = renderReport({ ...report, state: { ...report.state, mounts } });
    expect(text).toContain('logical/11 ');
    expect(text).not.toContain('logical/12 ');
    expect(text).toContain('… and 9,988 more');
    expect(text.split('\n').length).toBeLessThan(80);
  });

  it('lets no name of the archive speak to the terminal', () => {
    const leases = [{ path: 'db/\u001b[2J\u202e/creds', count: 1 }];
    const text = renderReport({ ...report, state: { ...report.state, leases } });
    expect(text).toContain('db/\\u{1b}[2J\\u{202e}/creds');
    expect(text).not.toMatch(/[^\n\P{C}]/u);
  });
});
