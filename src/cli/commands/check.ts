import { clusterConfig } from '../../config/cluster-config.ts';
import { describeError, isError, StrongroomError } from '../../core/errors.ts';
import { silentLog } from '../../core/log.ts';
import { systemClock } from '../../core/units.ts';
import type { Checked } from '../../observe/plugin-line.ts';
import type { Level } from '../../observe/verdict.ts';
import type { Context } from '../context.ts';
import type { Run } from '../define.ts';
import type { CheckFlags } from '../definitions/check.ts';
import { printable } from '../failure.ts';

const CODE = {
  warning: 'E_CHECK_WARNING',
  critical: 'E_CHECK_CRITICAL',
  unknown: 'E_CHECK_UNKNOWN',
} as const satisfies Record<Exclude<Level, 'ok'>, string>;

export const run: Run<CheckFlags> = async function (flags) {
  const { pluginLine } = await import('../../observe/plugin-line.ts');
  const checked = await checkAll(this, flags).catch((e: unknown) => {
    this.signal.throwIfAborted();
    // A plugin that ended with 15, or with 1 for a defect, would be taken for something else.
    const error = isError(e) ? e : new StrongroomError('E_BUG', describeError(e), { cause: e });
    const line = error.message.replaceAll('|', '/');
    this.output.result({ level: 'unknown', error: error.toJSON() }, () => `UNKNOWN - ${printable(line)}`);
    const hint = error.hint === undefined ? {} : { hint: error.hint };
    throw new StrongroomError('E_CHECK_UNKNOWN', error.message, { ...hint, cause: error });
  });
  const [worst] = checked;
  if (worst === undefined) throw new StrongroomError('E_BUG', 'a config without clusters passed the check');
  const { level, reasons } = worst.verdict;
  this.output.result({ level, clusters: checked.map(documentOf) }, () => printable(pluginLine(checked)));
  if (level === 'ok') return;
  throw new StrongroomError(CODE[level], `${worst.cluster}: ${reasons[0]?.text ?? level}`, {
    hint: `strongroom check --json says everything; strongroom snapshots list --cluster ${worst.cluster}`,
  });
};

async function checkAll(context: Context, flags: CheckFlags): Promise<Checked[]> {
  const config = await context.config(flags.config);
  const names =
    flags.cluster === undefined ? Object.keys(config.clusters) : [clusterConfig(config, flags.cluster).name];
  const { check } = await import('../../watch/check.ts');
  const limits = {
    ...(flags.maxAge === undefined ? {} : { maxAgeMs: flags.maxAge }),
    ...(flags.maxProofAge === undefined ? {} : { maxProofAgeMs: flags.maxProofAge }),
  };
  // What it would warn of is in the line.
  return await check({ config, clock: systemClock, log: silentLog }, { clusters: names, ...limits }, context.signal);
}

function documentOf({ cluster, verdict, limits }: Checked): Record<string, unknown> {
  return {
    cluster,
    level: verdict.level,
    recoveryPointAgeSeconds: verdict.ageMs === null ? null : verdict.ageMs / 1000,
    maxAgeSeconds: limits.maxAgeMs === null ? null : limits.maxAgeMs / 1000,
    maxProofAgeSeconds: limits.maxProofAgeMs === null ? null : limits.maxProofAgeMs / 1000,
    reasons: verdict.reasons,
  };
}
