import type { SnapshotId } from '../../core/ids.ts';
import { systemClock } from '../../core/units.ts';
import type { Run } from '../define.ts';
import type { SnapshotsRewrapFlags } from '../definitions/snapshots.ts';
import { openSnapshots, readManifest } from '../snapshots.ts';
import { partly } from './backup.ts';

export const run: Run<SnapshotsRewrapFlags, [snapshot: string]> = async function (flags, id) {
  const { rewrapSnapshot } = await import('../../snapshots/rewrap.ts');
  await using snapshots = await openSnapshots(this, flags);
  const { deps } = snapshots;
  const { manifest } = await readManifest(deps, id, this.signal);
  const options = { refresh: flags.refresh, dryRun: flags.dryRun };
  const result = await rewrapSnapshot(
    { ...deps, clock: systemClock },
    manifest.snapshot as SnapshotId,
    options,
    this.signal,
  );
  const failures = result.failures.map(({ destination, error }) => ({ destination, error: error.toJSON() }));
  this.output.result({ ...result, failures, dryRun: flags.dryRun }, () => {
    const { changes } = result;
    return [
      `${flags.dryRun ? 'would be' : 'is'} revision ${result.revision} of the keys of ${result.snapshot}`,
      ...changes.added.map((what) => `  added       ${what}`),
      ...changes.dropped.map((what) => `  dropped     ${what}`),
      ...changes.reencrypted.map((what) => `  renewed     ${what}`),
      ...changes.missing.map((what) => `  missing     ${what}`),
      ...changes.failed.map(({ what, error }) => `  not renewed ${what}: ${error}`),
      ...result.written.map((where) => `  written to  ${where}`),
      ...result.failures.map(({ destination, error }) => `  FAILED      ${destination}: ${error.message}`),
    ].join('\n');
  });
  const left = [
    ...changes(result.changes.missing, 'wrap under'),
    ...result.failures.map((f) => `keys in ${f.destination}`),
  ];
  if (left.length > 0) throw partly(left);
};

function changes(what: readonly string[], prefix: string): string[] {
  return what.map((name) => `${prefix} ${name}`);
}
