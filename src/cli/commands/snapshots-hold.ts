import { systemClock } from '../../core/units.ts';
import type { Run } from '../define.ts';
import type { SnapshotsHoldFlags } from '../definitions/snapshots.ts';
import { describeHold, holdDocument, notWholly, operator } from '../hold-text.ts';
import { openSnapshots, snapshotIdOf } from '../snapshots.ts';

export const run: Run<SnapshotsHoldFlags, [snapshot: string]> = async function (flags, id) {
  const { holdSnapshot } = await import('../../snapshots/hold.ts');
  await using snapshots = await openSnapshots(this, flags);
  const { deps } = snapshots;
  const records = await snapshots.records({ isReadOnly: false });
  const snapshot = await snapshotIdOf(deps, id, this.signal);
  const request = { who: flags.who ?? operator(this.env), why: flags.why, until: flags.until ?? null };
  const result = await holdSnapshot({ ...deps, records, clock: systemClock }, snapshot, request, this.signal);
  for (const warning of result.warnings) this.output.warn(warning);
  this.output.result(holdDocument(deps.cluster, result), () => describeHold(result).join('\n'));
  const failure = notWholly(result);
  if (failure !== null) throw failure;
};
