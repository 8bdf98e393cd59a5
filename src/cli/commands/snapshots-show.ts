import type { Run } from '../define.ts';
import type { SnapshotsShowFlags } from '../definitions/snapshots.ts';
import { describeManifest } from '../manifest-text.ts';
import { openSnapshots, readManifest } from '../snapshots.ts';

export const run: Run<SnapshotsShowFlags, [snapshot: string]> = async function (flags, snapshot) {
  await using snapshots = await openSnapshots(this, flags);
  const found = await readManifest(snapshots.deps, snapshot, this.signal);
  for (const { destination, error } of found.refused) this.output.warn(`${destination}: ${error.message}`);
  const refused = found.refused.map(({ destination, error }) => ({ destination, error: error.toJSON() }));
  this.output.result({ readFrom: found.readFrom, refused, manifest: found.manifest }, () =>
    describeManifest(found.manifest).join('\n'),
  );
};
