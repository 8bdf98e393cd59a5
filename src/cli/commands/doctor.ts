import { clusterConfig } from '../../config/cluster-config.ts';
import { StrongroomError } from '../../core/errors.ts';
import { silentLog } from '../../core/log.ts';
import { systemClock } from '../../core/units.ts';
import type { Finding } from '../../doctor/finding.ts';
import type { Run } from '../define.ts';
import type { DoctorFlags } from '../definitions/doctor.ts';
import { printable } from '../failure.ts';
import { table } from '../output.ts';

export const run: Run<DoctorFlags> = async function (flags) {
  const config = await this.config(flags.config);
  const names =
    flags.cluster === undefined ? Object.keys(config.clusters) : [clusterConfig(config, flags.cluster).name];
  const [{ doctor }, { verdictOf }] = await Promise.all([
    import('../../doctor/doctor.ts'),
    import('../../doctor/finding.ts'),
  ]);
  // What it would warn of is a finding.
  const deps = { config, clock: systemClock, log: silentLog };
  const findings = await doctor(deps, { clusters: names, only: flags.only ?? null }, this.signal);
  const { status, counts, line } = verdictOf(findings);
  this.output.result({ status, counts, findings }, () => `${textOf(findings)}\n\n${line}`);
  if (counts.problem === 0) return;
  const [first] = findings.filter((finding) => finding.status === 'problem');
  throw new StrongroomError('E_DOCTOR', `${counts.problem} problem(s) found`, {
    hint: first?.fix ?? 'strongroom doctor --json says everything',
  });
};

/** A table for each area; below what is not good, how to put it right. */
function textOf(findings: readonly Finding[]): string {
  const areas = [...new Set(findings.map(({ area }) => area))];
  return areas.map((area) => areaText(findings.filter((finding) => finding.area === area))).join('\n\n');
}

function areaText(findings: readonly Finding[]): string {
  const [first] = findings;
  const shown = table(findings, [
    { title: (first?.area ?? '').toUpperCase(), value: ({ status }) => (status === 'problem' ? 'PROBLEM' : status) },
    { title: 'WHAT', value: ({ what }) => what },
    { title: 'SAYS', value: ({ detail }) => detail },
  ]);
  const [titles, ...rows] = shown.split('\n');
  const withFixes = rows.flatMap((row, index) => {
    const { fix = null } = findings[index] ?? {};
    return fix === null ? [row] : [row, `         fix: ${printable(fix)}`];
  });
  return [titles, ...withFixes].join('\n');
}
