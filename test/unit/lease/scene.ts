/** Directories with leases in them, and runs on as many hosts as a test needs. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newRunId, parseClusterName } from '../../../src/core/ids.ts';
import { silentLog } from '../../../src/core/log.ts';
import { systemClock } from '../../../src/core/units.ts';
import { type ProcessIdentity, thisProcess } from '../../../src/lease/holder.ts';
import type { Lease, LeaseDeps, TakeOptions } from '../../../src/lease/lease.ts';
import type { LeaseRecord } from '../../../src/lease/record.ts';
import { takeLease } from '../../../src/lease/take.ts';
import { FileStore } from '../../../src/store/file.ts';
import { leaseKey } from '../../../src/store/layout.ts';
import type { Store } from '../../../src/store/store.ts';

export const cluster = parseClusterName('prod');
export const never = new AbortController().signal;

/** A process of another machine: nothing can be proven of it. */
export const on = (host: string): ProcessIdentity => ({ ...thisProcess(), host, space: `boot of ${host}` });

export class LeaseScene implements AsyncDisposable {
  readonly root: string;
  readonly a: FileStore;
  readonly b: FileStore;

  private constructor(root: string) {
    this.root = root;
    this.a = new FileStore({ name: 'a', directory: join(root, 'a') });
    this.b = new FileStore({ name: 'b', directory: join(root, 'b') });
  }

  static async open(): Promise<LeaseScene> {
    const root = await mkdtemp(join(tmpdir(), 'strongroom-lease-'));
    for (const name of ['a', 'b']) await mkdir(join(root, name));
    return new LeaseScene(root);
  }

  /** Long enough that nothing runs out by itself, unless a test says otherwise. */
  async take(
    change: Partial<LeaseDeps & TakeOptions> & { stores?: readonly Store[] } = {},
    signal = never,
  ): Promise<Lease> {
    const deps = { cluster, stores: [this.a], clock: systemClock, log: silentLog, ttlMs: 20_000, ...change };
    const run = newRunId(new Date());
    return await takeLease(deps, { need: 'any', waitMs: 0, run, door: 'test', fence: null, ...change }, signal);
  }

  async read(where: 'a' | 'b' = 'a'): Promise<LeaseRecord> {
    return JSON.parse(await readFile(join(this.root, where, leaseKey(cluster)), 'utf8')) as LeaseRecord;
  }

  /** As another run writes it, without asking anybody. */
  async plant(change: Partial<LeaseRecord> | string, where: 'a' | 'b' = 'a'): Promise<void> {
    const now = new Date().toISOString();
    const record: LeaseRecord = {
      schema: '1',
      cluster,
      token: 7,
      run: 'theirs',
      state: 'held',
      snapshot: null,
      fences: [],
      holder: { ...on('other-host'), pid: 4711, door: 'strongroom worker' },
      ttlMs: 100,
      beat: 3,
      since: now,
      renewedAt: now,
      ...(typeof change === 'string' ? {} : change),
    };
    const path = join(this.root, where, leaseKey(cluster));
    await mkdir(join(path, '..'), { recursive: true });
    await writeFile(path, typeof change === 'string' ? change : JSON.stringify(record));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.root, { recursive: true });
  }
}
