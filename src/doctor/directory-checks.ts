/** A folder as a destination. */
import { randomUUID } from 'node:crypto';
import { open, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { ClusterName } from '../core/ids.ts';
import { formatBytes } from '../core/units.ts';
import { kindPrefix, PROBE } from '../store/layout.ts';
import type { Store } from '../store/store.ts';
import { clockOutcome } from './clocks.ts';
import { type Outcome, ok, problem, unknown, warning } from './finding.ts';
import { attempt } from './run-checks.ts';
import { isOneDisk, removeProbe } from './spool-checks.ts';

export type DirectorySubject = {
  name: string;
  path: string;
  cluster: ClusterName;
  store: Store;
  spool: string;
  /** of the newest snapshot; 0 = there is none yet, null = not known */
  newestBytes: number | null;
};

/** Leaves nothing behind. Rejects with the abort reason alone. */
export async function tryDirectory(subject: DirectorySubject, signal: AbortSignal): Promise<Outcome[]> {
  const { name, path, cluster, store } = subject;
  const write = await attempt(`${name}, write`, signal, async (limited) => {
    await store.probeWrite(kindPrefix(cluster, 'data'), { signal: limited });
    return ok(`${name}, write`, `a file was written below ${path}, and is removed again`);
  });
  if (write.some(({ detail }) => detail.startsWith('E_STORE_BUCKET:'))) return [...write];
  return [
    ...write,
    ...(await attempt(`${name}, list`, signal, async (limited) => {
      for await (const _ of store.list(kindPrefix(cluster, 'manifests'), { signal: limited })) break;
      return ok(`${name}, list`, `backups of ${cluster} can be listed`);
    })),
    ...(await attempt(`${name}, clock`, signal, () => clockOf(subject))),
    ...(await attempt(`${name}, disk`, signal, () => diskOf(subject))),
    ...(await attempt(`${name}, room`, signal, () => roomOf(subject))),
  ];
}

async function clockOf({ name, path }: DirectorySubject): Promise<Outcome> {
  const probe = join(path, `${PROBE}-${randomUUID()}`);
  const before = Date.now();
  const handle = await open(probe, 'wx', 0o600);
  try {
    const { mtimeMs } = await handle.stat();
    return clockOutcome(`${name}, clock`, mtimeMs - (before + Date.now()) / 2);
  } finally {
    await handle.close();
    await removeProbe(probe);
  }
}

async function diskOf({ name, path, spool }: DirectorySubject): Promise<Outcome> {
  const what = `${name}, disk`;
  const isOne = await isOneDisk(path, spool);
  if (isOne === null) return unknown(what, `the spool ${spool} is not there yet`);
  if (!isOne) return ok(what, 'another file system than the spool');
  return warning(
    what,
    `${path} is on the disk of the spool: when it fills up, both stop`,
    'mount another disk there, or point spool.directory elsewhere',
  );
}

async function roomOf({ name, path, newestBytes }: DirectorySubject): Promise<Outcome> {
  const what = `${name}, room`;
  const { bavail, bsize } = await statfs(path);
  const free = bavail * bsize;
  if (newestBytes === null)
    return unknown(what, `${formatBytes(free)} free; the size of the newest snapshot is not known`);
  if (newestBytes === 0) return ok(what, `${formatBytes(free)} free; no snapshot yet to compare it with`);
  if (free < newestBytes)
    return problem(
      what,
      `${formatBytes(free)} free, and the newest snapshot has ${formatBytes(newestBytes)}`,
      `free some room below ${path}`,
    );
  const times = Math.floor(free / Math.max(1, newestBytes));
  if (times < 10)
    return warning(
      what,
      `${formatBytes(free)} free: ${times} more of the newest snapshot's size`,
      `free some room below ${path}, or keep fewer: retention`,
    );
  return ok(what, `${formatBytes(free)} free: ${times} times the newest snapshot`);
}
