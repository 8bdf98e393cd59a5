import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { renderReport } from '../../archive/inspect.ts';
import { readArchive } from '../../archive/read.ts';
import { isError, StrongroomError } from '../../core/errors.ts';
import { parseSnapshotId } from '../../core/ids.ts';
import type { Context } from '../context.ts';
import type { Run } from '../define.ts';
import type { InspectFlags } from '../definitions/inspect.ts';
import { describeManifest } from '../manifest-text.ts';
import { openSnapshots, readManifest } from '../snapshots.ts';

export const run: Run<InspectFlags, [source: string]> = async function (flags, source) {
  const isStored = source === 'latest' || parseSnapshotId(source) !== null;
  await (isStored ? inspectStored(this, flags, source) : inspectFile(this, source));
};

async function inspectFile(context: Context, source: string): Promise<void> {
  const path = resolve(context.cwd, source);
  const info = await stat(path).catch((e: unknown) => {
    throw new StrongroomError('E_NOT_FOUND', `there is no file ${source}, and it is no snapshot id`, { cause: e });
  });
  if (!info.isFile()) {
    throw new StrongroomError('E_SNAPSHOT_FORMAT', `${source} is not a file, so it is no archive`);
  }
  const report = await readArchive(createReadStream(path, { signal: context.signal, highWaterMark: 2 ** 18 })).catch(
    (e: unknown) => {
      context.signal.throwIfAborted();
      if (isError(e)) throw e;
      throw new StrongroomError('E_SNAPSHOT_FORMAT', `${source} cannot be read to its end`, { cause: e });
    },
  );
  context.output.result({ source: path, kind: 'archive', report }, () => renderReport(report));
}

/** What the signed manifest says of a stored snapshot: no key is needed, and none of its bytes are fetched. */
async function inspectStored(context: Context, flags: InspectFlags, source: string): Promise<void> {
  await using snapshots = await openSnapshots(context, flags);
  const found = await readManifest(snapshots.deps, source, context.signal);
  const document = { source, kind: 'manifest', readFrom: found.readFrom, manifest: found.manifest };
  context.output.result(document, () => describeManifest(found.manifest).join('\n'));
}
