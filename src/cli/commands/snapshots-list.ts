import { describeError, isError } from '../../core/errors.ts';
import { snapshotTime } from '../../core/ids.ts';
import type { Run } from '../define.ts';
import type { SnapshotsListFlags } from '../definitions/snapshots.ts';
import { table } from '../output.ts';
import { openSnapshots } from '../snapshots.ts';

/** Names only: no manifest is opened, so this is quick at any number of snapshots, and says nothing about validity. */
export const run: Run<SnapshotsListFlags> = async function (flags) {
  await using snapshots = await openSnapshots(this, flags);
  const { catalogue, stores } = snapshots.deps;
  const { entries, failures } = await catalogue.list(this.signal);
  for (const failure of failures) this.output.warn(`not listed: ${describeError(failure)}`);
  const newest = entries.toReversed().slice(0, flags.limit ?? entries.length);
  const asked = stores.map(({ name }) => name);
  const rows = newest.map(({ snapshot, destinations }) => ({
    snapshot,
    createdAt: snapshotTime(snapshot).toISOString(),
    destinations,
    missing: asked.filter((name) => !destinations.includes(name)),
  }));
  const document = {
    cluster: catalogue.cluster,
    snapshots: rows,
    failures: failures.map((failure) => (isError(failure) ? failure.toJSON() : failure)),
  };
  this.output.result(document, () =>
    table(rows, [
      { title: 'SNAPSHOT', value: (row) => row.snapshot },
      { title: 'TAKEN', value: (row) => row.createdAt },
      { title: 'IN', value: (row) => row.destinations.join(', ') },
      { title: 'NOT IN', value: (row) => row.missing.join(', ') },
    ]),
  );
};
