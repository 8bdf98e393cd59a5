/** Which snapshot, from where, and its plain bytes: nothing comes out of here that was not authenticated. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readArchive } from '../archive/read.ts';
import type { ArchiveReport } from '../archive/report.ts';
import { verifyArchive } from '../archive/verify.ts';
import { checkArchive } from '../catalogue/archive-record.ts';
import type { VerifiedManifest } from '../catalogue/catalogue.ts';
import { answeringFirst, firstUsableCopy, matchManifest, readCopy } from '../catalogue/copy.ts';
import { openIdentity } from '../catalogue/identity.ts';
import type { Manifest } from '../catalogue/manifest.ts';
import { describeMark } from '../catalogue/marks.ts';
import type { MarkRecord } from '../catalogue/record-types.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import { type Bytes, discard, flow, measure } from '../core/flow.ts';
import { parseSnapshotId, type SnapshotId } from '../core/ids.ts';
import { decrypt } from '../crypt/container.ts';
import { checkRoom, SpoolFile } from '../spool/spool.ts';
import type { Store } from '../store/store.ts';

import type { RestoreDeps, RestoreOptions } from './options.ts';

/** A snapshot that was read to its end once, found whole, and can be read again from this machine. */
export type RestoreSource = AsyncDisposable & {
  label: string;
  /** null for a plain file: nothing signed it */
  manifest: Manifest | null;
  report: ArchiveReport;
  /** size of the plain archive */
  bytes: number;
  /** how it was opened, for people */
  openedWith: string;
  /** the plain archive, decrypted and verified again while it passes; can be called more than once */
  plain(signal: AbortSignal): Bytes;
  warnings: string[];
};

/**
 * Resolves `name` (`latest`, an id, or a path), fetches it to the encrypted spool, and verifies all of it to nowhere.
 * Rejects before anything is installed: E_NOT_FOUND, E_SIGNATURE, E_MANIFEST, E_DECRYPT, E_SNAPSHOT_* …
 */
export async function openSource(
  deps: RestoreDeps,
  name: RestoreOptions['snapshot'],
  signal: AbortSignal,
  { takeMarked = false }: Pick<RestoreOptions, 'takeMarked'> = {},
): Promise<RestoreSource> {
  if (typeof name === 'string' && name !== 'latest' && parseSnapshotId(name) === null)
    return await openFile(name, signal);
  const { found, warnings } = await resolve(deps, name, takeMarked, signal);
  return await openStored(deps, found, warnings, signal);
}

async function resolve(
  deps: RestoreDeps,
  name: RestoreOptions['snapshot'],
  takeMarked: boolean,
  signal: AbortSignal,
): Promise<{ found: VerifiedManifest; warnings: string[] }> {
  const id = typeof name === 'string' ? parseSnapshotId(name) : null;
  if (id !== null) {
    const found = await deps.catalogue.read(id, signal);
    return { found, warnings: await refuseMarked(deps, id, takeMarked, signal) };
  }
  const { newest, skipped, failures, ignored } = await deps.catalogue.latest(
    signal,
    typeof name === 'string' ? {} : name,
  );
  const [refused] = skipped;
  if (refused !== undefined) {
    // Passing over a newer manifest in silence would be a roll-back that nobody asked for.
    throw new StrongroomError(refused.code, `the newest manifest is refused: ${refused.message}`, {
      hint:
        newest === null
          ? 'no acceptable manifest is left; look at the other destinations'
          : `find out why; the newest acceptable one is --snapshot ${newest.manifest.snapshot}`,
      cause: refused,
    });
  }
  if (newest === null) {
    const when = typeof name === 'string' ? '' : ` from ${name.notAfter.toISOString()} or before`;
    throw new StrongroomError('E_NOT_FOUND', `no destination has any snapshot of ${deps.cluster}${when}`, {
      hint:
        when === ''
          ? 'check the destinations and their prefix in the config'
          : `strongroom snapshots list --cluster ${deps.cluster}`,
    });
  }
  return {
    found: newest,
    warnings: [
      ...failures.map((e) => `not every destination could be asked: ${e.message}`),
      ...ignored.map((mark) => `passed over ${mark.snapshot}, ${describeMark(mark)}`),
    ],
  };
}

/** Throws E_PRECONDITION for one that is marked to be ignored, unless it is to be taken all the same. Where nobody can say, that is a warning: it is verified before it is installed. */
async function refuseMarked(
  deps: RestoreDeps,
  id: SnapshotId,
  takeMarked: boolean,
  signal: AbortSignal,
): Promise<string[]> {
  let mark: MarkRecord | undefined;
  try {
    const { ignored, failures } = await deps.catalogue.marks(signal);
    mark = ignored.get(id);
    if (mark === undefined) return failures.map((e) => `not every destination could be asked for marks: ${e.message}`);
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    return [`no destination says whether ${id} is marked to be ignored: ${e.message}`];
  }
  if (takeMarked) return [`${id} is ${describeMark(mark)}; it is taken because --marked says so`];
  throw new StrongroomError('E_PRECONDITION', `snapshot ${id} is ${describeMark(mark)}`, {
    hint: `take another: strongroom snapshots list --cluster ${deps.cluster}; or this one, if it verifies, with --marked; where a copy is good after all, strongroom job run verify and then prune --apply lift the mark`,
    details: { snapshot: id, by: mark.who, at: mark.at },
  });
}

async function openStored(
  deps: RestoreDeps,
  found: VerifiedManifest,
  warnings: string[],
  signal: AbortSignal,
): Promise<RestoreSource> {
  const { manifest } = found;
  const snapshot = manifest.snapshot as SnapshotId;
  const stores = answeringFirst(deps.stores, found);
  await checkRoom(deps.spool, manifest.ciphertext.bytes);
  await using stack = new AsyncDisposableStack();
  const spool = stack.use(
    await SpoolFile.create(deps.spool, join(deps.into, `restore-${snapshot}-${process.pid}.spool`)),
  );
  const { store, refused } = await firstUsableCopy(
    { ...deps, stores },
    manifest,
    (candidate) => fetchTo(deps, candidate, manifest, spool, signal),
    signal,
  );
  const opened = await openIdentity({ ...deps, stores }, snapshot, manifest.keys.recipient, signal);
  const { headerSha256 } = manifest.ciphertext;
  const decrypted = (): Bytes => decrypt(opened.identities, { headerSha256 })(spool.read(0, spool.bytes));

  const verify = verifyArchive({ signal, requireSealedSums: false });
  deps.onProgress({ stage: 'verify', totalBytes: manifest.archive.bytes });
  await flow(decrypted(), [verify.stage], discard, signal);
  const report = await verify.report;
  checkArchive(report, manifest);

  const owned = stack.move();
  return {
    label: `snapshot ${snapshot} from ${store.location}`,
    manifest,
    report,
    bytes: manifest.archive.bytes,
    openedWith: opened.openedWith,
    plain: (again) => verifyArchive({ signal: again, requireSealedSums: false }).stage(decrypted()),
    warnings: [
      ...warnings,
      ...found.refused.map((r) => `${r.destination}: ${r.error.message}`),
      ...refused.map((r) => `${r.store}: ${r.error.message}`),
    ],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function fetchTo(
  deps: RestoreDeps,
  store: Store,
  manifest: Manifest,
  spool: SpoolFile,
  signal: AbortSignal,
): Promise<void> {
  const stage = `download ${store.name}`;
  const watch = measure((bytes) => deps.onProgress({ stage, bytes, totalBytes: manifest.ciphertext.bytes }));
  const match = matchManifest(manifest, store.location);
  await flow(readCopy(deps.catalogue, manifest, store, signal), [watch, match], spool.write, signal);
}

/** A plain archive that somebody brought. It proves itself whole, but not where it comes from. */
async function openFile(path: string, signal: AbortSignal): Promise<RestoreSource> {
  const info = await stat(path).catch((e: unknown) => {
    throw new StrongroomError('E_NOT_FOUND', `there is no file ${path}, and it is no snapshot id`, {
      hint: 'give "latest", an id from strongroom snapshots list, or the path of an archive',
      cause: e,
    });
  });
  // A pipe can be read once, and what is installed must have been verified before.
  if (!info.isFile()) throw new StrongroomError('E_SNAPSHOT_FORMAT', `${path} is not a file, so it is no archive`);
  const report = await readArchive(readFile(path, signal), { requireSealedSums: false });
  return {
    label: `file ${path}`,
    manifest: null,
    report,
    bytes: info.size,
    openedWith: 'plain file',
    plain: (again) => sameArchive(path, report, again),
    warnings: [`${path} is not signed: that it is whole was checked, where it comes from cannot be`],
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

async function* readFile(path: string, signal: AbortSignal): Bytes {
  try {
    yield* createReadStream(path, { signal });
  } catch (e) {
    signal.throwIfAborted();
    throw new StrongroomError('E_SNAPSHOT_FORMAT', `${path} cannot be read to its end`, { cause: e });
  }
}

/** Verified again, and held against what the plan was made of: somebody may put another file there meanwhile. */
async function* sameArchive(path: string, report: ArchiveReport, signal: AbortSignal): Bytes {
  const changed = (): StrongroomError =>
    new StrongroomError('E_SNAPSHOT_CHECKSUM', `${path} is not the file that was verified any more`, {
      hint: 'restore from a copy that nobody writes to',
      retryable: false,
    });
  // Its length was announced to the server: that of another file would end in a broken request.
  if ((await stat(path)).size !== report.bytes) throw changed();
  const verify = verifyArchive({ signal, requireSealedSums: false });
  yield* verify.stage(readFile(path, signal));
  const now = await verify.report;
  if (JSON.stringify(now.members) !== JSON.stringify(report.members)) throw changed();
}
