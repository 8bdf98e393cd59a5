/** Backups that are meant to go wrong: how to run one quickly, when to break in, and what to find left behind. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ListMultipartUploadsCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { type BackupResult, backup } from '../../src/backup/backup.ts';
import type { BackupDeps } from '../../src/backup/options.ts';
import { Catalogue } from '../../src/catalogue/catalogue.ts';
import { exitCodeOf, isError, type StrongroomError } from '../../src/core/errors.ts';
import type { OnProgress } from '../../src/core/progress.ts';
import type { Store } from '../../src/store/store.ts';
import type { FaultProxy } from './fault-proxy.ts';
import { type S3Connection, s3Client } from './s3-connection.ts';
import { type AppOptions, openApp } from './strongroom-app.ts';
import type { CliResult } from './strongroom-cli.ts';
import type { World } from './world.ts';

/** Waits of a test between two tries of a snapshot, in milliseconds; two seconds in production. */
const RETRY_BASE_MS = 50;

export type TrialOptions = AppOptions & {
  newLineage?: boolean;
  /** what is other than the config says; the app of it is open until the backup is over */
  change?: (deps: BackupDeps) => BackupDeps | Promise<BackupDeps>;
};

/** One backup as {@link backup} makes it, with short waits between its tries. */
export async function tryBackup(options: TrialOptions): Promise<BackupResult> {
  const signal = options.signal ?? new AbortController().signal;
  await using app = await openApp(options);
  const configured = await app.backupDeps(options.cluster ?? 'prod', signal);
  const quick = { ...configured, limits: { ...configured.limits, retryBaseMs: RETRY_BASE_MS } };
  const deps = (await options.change?.(quick)) ?? quick;
  return await backup(deps, { purpose: 'backup', newLineage: options.newLineage ?? false }, signal);
}

/** The same, for what must fail; throws when it does not, or fails without a code. */
export async function failedBackup(options: TrialOptions): Promise<StrongroomError> {
  let result: BackupResult;
  try {
    result = await tryBackup(options);
  } catch (e) {
    if (isError(e)) return e;
    throw e;
  }
  throw new Error(`the backup ${result.manifest.snapshot} succeeded, complete: ${result.complete}`);
}

/** What a failure means to a script: code and exit code. */
export function verdictOf(e: StrongroomError): [code: string, exitCode: number] {
  return [e.code, exitCodeOf(e)];
}

/** `deps` with other stores, for backup and catalogue alike. */
export async function onStores(deps: BackupDeps, stores: readonly Store[]): Promise<BackupDeps> {
  const trusted = [await deps.signer.publicKeyPem(new AbortController().signal)];
  return {
    ...deps,
    destinations: stores.map((store) => ({ store, lock: null })),
    catalogue: new Catalogue({ cluster: deps.cluster, stores, trusted }),
  };
}

export type Break = {
  onProgress: OnProgress;
  /** rejects with what `act` rejected with; resolves when it has run */
  done: Promise<void>;
};

/**
 * Breaks into the middle of a snapshot: when its first bytes have come through `proxy`, nothing more passes until `act` is
 * done. The proxy must be throttled before, so that the middle is not over before it is noticed. Only the first snapshot
 * is broken into.
 */
export function duringSnapshot(proxy: FaultProxy, act: () => Promise<void>): Break {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // Awaited by the test when the backup is over; it may fail long before.
  promise.catch(() => undefined);
  let isDone = false;
  const breakIn = async (): Promise<void> => {
    await proxy.set({ kind: 'hang' });
    try {
      await act();
    } finally {
      // What act set itself, such as a refusal, stays.
      if (proxy.fault.kind === 'hang') await proxy.set({ kind: 'pass' });
    }
  };
  return {
    onProgress: ({ stage, bytes }) => {
      if (isDone || stage !== 'snapshot' || bytes === undefined) return;
      isDone = true;
      breakIn().then(resolve, reject);
    },
    done: promise,
  };
}

/** Who is at work there is written anew all the time, and says nothing about what a run has stored or left. */
const isLease = (path: string): boolean => path.endsWith('/lease.json');

/** Everything in a bucket but leases, as the server lists it: keys of objects, keys of unfinished uploads. */
export async function inBucket(
  server: S3Connection,
  bucket: string,
): Promise<{ objects: string[]; uploads: string[] }> {
  const client = s3Client(server);
  try {
    const objects = await client.send(new ListObjectsV2Command({ Bucket: bucket }));
    const uploads = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
    if (objects.IsTruncated === true || uploads.IsTruncated === true) throw new Error(`${bucket} has more than a page`);
    return {
      objects: (objects.Contents ?? []).map(({ Key }) => Key ?? '').filter((key) => !isLease(key)),
      uploads: (uploads.Uploads ?? []).map(({ Key }) => Key ?? ''),
    };
  } finally {
    client.destroy();
  }
}

/** Every file below a folder but leases, sorted; of a folder that is not there, none. */
export async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !isLease(path))
    .sort();
}

/** Files of runs in the spool: none when nothing runs. */
export async function inSpool(world: World): Promise<string[]> {
  // The note of a restore that was not proven stays on purpose: the next run goes on with it.
  return (await filesIn(world.spool)).filter((path) => !path.endsWith('/restore.json'));
}

/** The failure that the CLI wrote with --json: the last line of its standard error. */
export function failureOf(result: CliResult): { code: string; message: string; hint: string; exitCode: number } {
  const line = result.stderr.trimEnd().split('\n').at(-1) ?? '';
  const { error } = JSON.parse(line) as { error?: { code: string; message: string; hint?: string; exitCode: number } };
  if (error === undefined) throw new Error(`no failure at the end of:\n${result.stderr}`);
  return { ...error, hint: error.hint ?? '' };
}
