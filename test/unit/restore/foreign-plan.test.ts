/** The plan for archives of another product, version or seal than the target's: refused, or said. Never "it fits". */
import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { readArchive } from '../../../src/archive/read.ts';
import type { ArchiveReport } from '../../../src/archive/report.ts';
import type { Manifest } from '../../../src/catalogue/manifest.ts';
import { parseClusterName } from '../../../src/core/ids.ts';
import { describePlan } from '../../../src/restore/describe.ts';
import { planRestore, type RestorePlan, type TargetState } from '../../../src/restore/plan.ts';
import { chunked } from '../../support/archive-builder.ts';
import { asVaultNames, forgeArchive } from '../../support/forged-archive.ts';

const CLUSTER = parseClusterName('prod');
const target: TargetState = {
  activeNode: 'https://node-0:8200',
  clusterId: 'target',
  product: 'openbao',
  version: '2.7.2',
  sealType: 'shamir',
  threshold: 2,
  raftAppliedIndex: 500,
  readTimeoutMs: null,
};
/** of a stored snapshot; a plain file has none */
const manifest = { createdAt: '2026-11-22T02:00:00Z', source: { clusterId: 'source' } } as Manifest;
let openbao: ArchiveReport;
/** A real OpenBao archive under Vault's names: no archive of a real Vault is at hand. */
let vault: ArchiveReport;

beforeAll(async () => {
  const real = await readFile(new URL('../../fixtures/archives/openbao-2.7.2-shamir.snap', import.meta.url));
  openbao = await readArchive(chunked(real));
  vault = await readArchive(chunked(await forgeArchive(real, { records: asVaultNames, form: 'deflate' })));
});

const plan = (
  report: ArchiveReport,
  change: Partial<TargetState> = {},
  stored: Manifest | null = manifest,
  force = false,
): RestorePlan =>
  planRestore({
    cluster: CLUSTER,
    into: CLUSTER,
    target: { ...target, ...change },
    report,
    manifest: stored,
    contents: null,
    now: new Date('2026-11-22T03:00:00Z'),
    verifyMs: 100,
    force,
  });
const warned = (made: RestorePlan): string => made.warnings.join('\n');

describe.each([
  ['a stored snapshot', manifest],
  ['a plain file', null],
])('the plan for %s', (_, stored) => {
  it('refuses Vault for OpenBao and OpenBao for Vault, forced or not, and says what it would take', () => {
    for (const force of [false, true]) {
      const given = (report: ArchiveReport, product: TargetState['product']) => () =>
        plan(report, { product }, stored, force);
      expect(given(vault, 'openbao')).toThrow(
        expect.objectContaining({
          code: 'E_PRECONDITION',
          message: 'the snapshot is of vault, the target runs openbao: it would not start on this storage',
          hint: 'restore into a cluster of vault',
        }),
      );
      expect(given(openbao, 'vault')).toThrow(
        expect.objectContaining({
          code: 'E_PRECONDITION',
          message: 'the snapshot is of openbao, the target runs vault: it would not start on this storage',
          hint: 'restore into a cluster of openbao',
        }),
      );
      expect(given(vault, 'vault')).not.toThrow();
      expect(given(openbao, 'openbao')).not.toThrow();
    }
  });

  it('says so when it cannot tell a product, of the snapshot, of the target, or of both', () => {
    const unknown: ArchiveReport = { ...openbao, product: 'unknown' };
    const said = /the product of the (snapshot|target) is not known: whether both are the same was not checked/;
    for (const made of [
      plan(unknown, {}, stored),
      plan(openbao, { product: 'unknown' }, stored),
      plan(unknown, { product: 'unknown' }, stored),
    ]) {
      expect(warned(made)).toMatch(said);
    }
    expect(warned(plan(openbao, {}, stored))).not.toMatch(said);
  });

  it('refuses a seal of another type, a seal that it does not know, and one that the target does not tell', () => {
    const quantum: ArchiveReport = { ...openbao, seal: { ...openbao.seal, type: 'quantum' } };
    for (const [report, sealType] of [
      [quantum, 'shamir'],
      [openbao, 'quantum'],
      [openbao, 'unknown'],
    ] as const) {
      const said =
        sealType === 'unknown'
          ? 'does not say which seal it has'
          : `seal is ${report.seal.type}, the target's is ${sealType}`;
      expect(() => plan(report, { sealType }, stored)).toThrow(
        expect.objectContaining({ code: 'E_PRECONDITION', message: expect.stringContaining(said) as string }),
      );
    }
  });
});

describe('the plan', () => {
  it('warns of a target that is older than the snapshot, in any part of the version', () => {
    for (const version of ['2.7.1', '2.6.9', '1.99.0', '2.7.1+ent']) {
      expect(warned(plan(openbao, { version }))).toContain(`the target runs ${version}, older than 2.7.2`);
    }
  });

  it('does not warn of one that is newer, or the same', () => {
    for (const version of ['2.7.2', '2.7.2+ent', '2.7.10', '2.10.0', '3.0.0']) {
      expect(warned(plan(openbao, { version }))).not.toContain('the target runs');
    }
  });

  it('says when versions cannot be compared', () => {
    for (const version of [null, 'dev', '2.7']) {
      expect(warned(plan(openbao, { version }))).toContain("versions were not compared: the target's is");
    }
    expect(warned(plan({ ...openbao, productVersion: null }))).toContain("the snapshot's unknown");
    expect(warned(plan(openbao))).not.toContain('versions were not compared');
  });

  it('warns of a pre-release of the version that the snapshot is of', () => {
    expect(warned(plan(openbao, { version: '2.7.2-beta1' }))).toContain(
      'the target runs 2.7.2-beta1, older than 2.7.2',
    );
  });

  it('says that it fits only where products and versions are known, and the target is not older', () => {
    const line = (made: RestorePlan): string =>
      describePlan(made, 'x')
        .filter((text) => /^(fits|unsure) /.test(text))
        .join();
    expect(line(plan(openbao))).toMatch(
      /^fits      openbao 2\.7\.2, seal shamir 2 of 3, into openbao 2\.7\.2, seal shamir$/,
    );
    expect(line(plan({ ...openbao, productVersion: '2.6.2' }))).toMatch(
      /^fits      openbao 2\.6\.2, .* into openbao 2\.7\.2/,
    );
    const unknown: ArchiveReport = { ...openbao, product: 'unknown' };
    for (const unsure of [
      plan(unknown),
      plan(openbao, { product: 'unknown' }),
      plan(openbao, { version: null }),
      plan(openbao, { version: '2.6.2' }),
    ]) {
      expect(line(unsure)).toMatch(/^unsure    /);
    }
  });

  it('never leaves out what the archive itself warns of', () => {
    const doubtful: ArchiveReport = { ...openbao, seal: { ...openbao.seal, sealedSums: 'absent' } };
    expect(plan(doubtful).warnings).toEqual(expect.arrayContaining(openbao.cautions));
    expect(plan(doubtful)).toMatchObject({
      force: true,
      forceReason: expect.stringContaining('no sealed sums') as string,
    });
  });
});
