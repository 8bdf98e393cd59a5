import { StrongroomError } from '../../core/errors.ts';
import { formatBytes, systemClock } from '../../core/units.ts';
import type { AuditResult } from '../../snapshots/audit.ts';
import { FINDINGS, type Finding, type FindingKind } from '../../snapshots/audit-findings.ts';
import type { Run } from '../define.ts';
import type { SnapshotsAuditFlags } from '../definitions/snapshots.ts';
import { openSnapshots } from '../snapshots.ts';

/** So many of one kind are enough for eyes; the JSON has them all. */
const SHOWN = 20;

export const run: Run<SnapshotsAuditFlags> = async function (flags) {
  const { audit } = await import('../../snapshots/audit.ts');
  await using snapshots = await openSnapshots(this, flags);
  const records = await snapshots.records({ isReadOnly: true });
  const deps = { ...snapshots.deps, records, clock: systemClock };
  const result = await audit(deps, { isDeep: flags.deep }, this.signal);
  snapshots.endProgress();
  this.output.result(result, () => describe(result).join('\n'));
  if (result.wrong === 0) return;
  throw new StrongroomError(
    'E_AUDIT',
    `${result.wrong} things are not right in the destinations of ${result.cluster}`,
    {
      hint: 'each is named with what to do about it; docs/audit.md explains them',
      details: { wrong: result.wrong },
    },
  );
};

function describe({ cluster, isDeep, destinations, snapshots, findings, wrong }: AuditResult): string[] {
  const kinds = [...new Set(findings.map(({ kind }) => kind))];
  const verdict = wrong === 0 ? 'nothing is wrong' : `${wrong} WRONG`;
  return [
    `${cluster}: ${verdict}; ${snapshots} snapshots${isDeep ? ', their data read' : ', data by length and checksum of the store'}`,
    ...destinations.map(({ name, location, objects, bytes, isComplete }) => {
      const seen = isComplete ? '' : ', NOT ALL OF IT';
      return `  ${name}  ${location}: ${objects} objects, ${formatBytes(bytes)}${seen}`;
    }),
    ...kinds.flatMap((kind) =>
      describeKind(
        kind,
        findings.filter((finding) => finding.kind === kind),
      ),
    ),
  ];
}

function describeKind(kind: FindingKind, findings: readonly Finding[]): string[] {
  const { severity, hint } = FINDINGS[kind];
  return [
    '',
    `${severity === 'wrong' ? 'WRONG' : 'notice'} ${kind}: ${findings.length}`,
    ...findings.slice(0, SHOWN).map(({ destination, snapshot, key, message }) => {
      const what = [destination, snapshot, snapshot === null ? key : null].filter((part) => part !== null);
      return `  ${what.join(' ')}${what.length === 0 ? '' : ': '}${message}`;
    }),
    ...(findings.length > SHOWN ? [`  and ${findings.length - SHOWN} more: --json has them all`] : []),
    `  hint: ${hint}`,
  ];
}
