import { actsBySnapshot, isHolding, newestAct } from '../../catalogue/holds.ts';
import { describeMark } from '../../catalogue/marks.ts';
import type { HoldRecord } from '../../catalogue/record-types.ts';
import type { Records } from '../../catalogue/records.ts';
import { isError } from '../../core/errors.ts';
import type { SnapshotId } from '../../core/ids.ts';
import { systemClock } from '../../core/units.ts';
import { type CopyPresence, KIND_NAMES, KINDS, lookAtCopies } from '../../snapshots/presence.ts';
import type { Context } from '../context.ts';
import type { Run } from '../define.ts';
import type { SnapshotsShowFlags } from '../definitions/snapshots.ts';
import { holdInWords } from '../hold-text.ts';
import { describeManifest } from '../manifest-text.ts';
import { openSnapshots, readManifest } from '../snapshots.ts';

export const run: Run<SnapshotsShowFlags, [snapshot: string]> = async function (flags, snapshot) {
  await using snapshots = await openSnapshots(this, flags);
  const found = await readManifest(snapshots.deps, snapshot, this.signal);
  for (const { destination, error } of found.refused) this.output.warn(`${destination}: ${error.message}`);
  const { ignored } = await snapshots.deps.catalogue.marks(this.signal);
  const mark = ignored.get(found.manifest.snapshot as SnapshotId) ?? null;
  if (mark !== null) this.output.warn(describeMark(mark));
  const refused = found.refused.map(({ destination, error }) => ({ destination, error: error.toJSON() }));
  const seen = await lookAtCopies(snapshots.deps, found.manifest, this.signal);
  for (const { problems } of seen) for (const { message } of problems) this.output.warn(message);
  const hold = await currentHold(
    await snapshots.records({ isReadOnly: true }),
    found.manifest.snapshot as SnapshotId,
    this,
  );
  const copies = seen.map((copy) => ({ ...copy, problems: copy.problems.map((problem) => problem.toJSON()) }));
  this.output.result({ readFrom: found.readFrom, refused, copies, hold, mark, manifest: found.manifest }, () =>
    [...describeManifest(found.manifest), ...held(hold), ...seen.map(describePresence)].join('\n'),
  );
};

/** undefined = it is not known, and said: what was asked for is the manifest. */
async function currentHold(
  records: Records,
  snapshot: SnapshotId,
  { output, signal }: Context,
): Promise<HoldRecord | null | undefined> {
  try {
    const { names, failures } = await records.holds(signal);
    const { record, refused } = await newestAct(records, actsBySnapshot(names).get(snapshot) ?? [], signal);
    for (const { message } of [...refused, ...failures]) output.warn(`holds: ${message}`);
    return record !== null && isHolding(record, systemClock.now()) ? record : null;
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    output.warn(`whether it is held is not known: ${e.message}`);
    return undefined;
  }
}

function held(hold: HoldRecord | null | undefined): string[] {
  return hold === null || hold === undefined ? [] : [`HELD        by ${holdInWords(hold)}`];
}

/** By names and lengths: that the bytes are right is for verify to find out. */
function describePresence({ destination, promised, lacks, problems }: CopyPresence): string {
  const here = KINDS.filter((kind) => !lacks.includes(kind)).map((kind) => KIND_NAMES[kind]);
  const [problem] = problems;
  if (problem !== undefined) return `NOT WHOLE   ${destination}: ${problem.message}`;
  if (promised !== 'stored' && here.length === 0) return `not there   ${destination}`;
  return `there now   ${destination}: ${here.join(', ')}`;
}
