/** A restore on a machine whose disk is full: refused before anything happens, or told what the target holds by now. */
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { KEPT, RestoreSite } from '../support/restore-site.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { SmallDisk } from '../support/small-disk.ts';
import { Watched } from '../support/watched-run.ts';

const MIB = 2 ** 20;
/** Of the snapshot; the fetched copy and the proof are a little more. */
const STATE_BYTES = 3 * MIB;
/** `reserveBytes` of the config */
const RESERVE_BYTES = MIB;
/** Room for the fetched copy, and not for a proof beside it. */
const FOR_ONE = RESERVE_BYTES + 1.5 * STATE_BYTES;
/** A safety snapshot wants 64 MiB as long as nobody knows its size. */
const DISK_BYTES = 96 * MIB;

const stack = new AsyncDisposableStack();
let site: RestoreSite;
let disk: SmallDisk;

beforeAll(async () => {
  const cache = await mkdtemp(join(tmpdir(), 'strongroom-compiled-'));
  stack.defer(() => rm(cache, { recursive: true, force: true }));
  site = stack.use(await RestoreSite.open({ server: await sharedServer('versitygw'), stateBytes: STATE_BYTES, cache }));
  disk = stack.use(await SmallDisk.mount(site.world.spool, DISK_BYTES));
});
afterAll(() => stack.disposeAsync());

beforeEach(async () => {
  await site.soil();
  site.proxies.http.requests.length = 0;
});
afterEach(async () => {
  await site.proxies.gate.set({ kind: 'pass' });
  await site.proxies.wire.set({ kind: 'pass' });
  await disk.empty();
  expect(await inSpool()).toEqual([]);
});

const watch = (): Watched => new Watched((onStderr) => site.start([], { via: disk.via, onStderr }));
const posts = (): string[] => site.proxies.http.requests.filter((line) => line.startsWith('POST /v1/sys/storage/raft'));
const inSpool = (): Promise<string[]> => readdir(join(disk.path, 'prod')).catch(() => []);

/** No room: what was said of it. */
async function refusal(run: Watched): Promise<string> {
  const { code, stdout, stderr } = await run.running.finished;
  expect([code, stdout], stderr).toEqual([14, '']);
  return stderr.slice(stderr.indexOf('error '));
}

async function expectUntouched(run: Watched, words: RegExp): Promise<void> {
  const said = await refusal(run);
  expect(said).toMatch(words);
  expect(said).toMatch(/^ {2}hint: free some room/m);
  expect(posts()).toEqual([]);
  expect(await site.canary()).toBe('written since');
  expect(await inSpool()).toEqual([]);
}

describe('no room', () => {
  it('for anything: refused before Vault is asked', async () => {
    await disk.fill();
    await expectUntouched(watch(), /^error E_SPACE: no room left for the spool file /);
    expect(site.proxies.http.requests).toEqual([]);
  });

  it('for the snapshot: refused before Vault is asked', async () => {
    await disk.fill(RESERVE_BYTES + STATE_BYTES / 2);
    await expectUntouched(
      watch(),
      /^error E_SPACE: the spool's disk has 2\.50 MiB free; about 3\.\d+ MiB and a reserve /,
    );
    expect(site.proxies.http.requests).toEqual([]);
  });

  it('for the proof: refused before anything is installed', async () => {
    await disk.fill(FOR_ONE);
    await expectUntouched(
      watch(),
      /^error E_SPACE: the spool's disk has 2\.\d+ MiB free; about 3\.\d+ MiB and a reserve /,
    );
  });

  it('any more, in the middle of the download', async () => {
    await site.proxies.wire.set({ kind: 'throttle', bytesPerSecond: STATE_BYTES / 4, direction: 'down' });
    const run = watch();
    await run.says(/^download bucket: /m);
    await disk.fill();
    await site.proxies.wire.set({ kind: 'pass' });
    await expectUntouched(run, /^error E_SPACE: no room left for the spool file /);
  });

  it('after the install: the proof waits for room, and until then nothing is installed again', async () => {
    const installs = await site.installs();
    const run = watch();
    await run.says(/^settle/m);
    const [fetched = ''] = (await inSpool()).filter((name) => name.endsWith('.spool'));
    const { size } = await stat(join(disk.path, 'prod', fetched));
    await disk.fill(FOR_ONE - size);
    const said = await refusal(run);
    expect(said).toMatch(/^error E_SPACE: the snapshot was handed over, but it is not proven: the spool's disk has /);
    expect(said).toMatch(
      /hint: free some room .*; then run the same command again: it goes on with the proof, and installs nothing$/m,
    );
    expect(await site.canary()).toBe(KEPT);
    expect(await inSpool()).toEqual(['restore.json']);

    const untold =
      /^error E_SPACE: run \S+ handed this snapshot to \S+ \S+ ago, and whether it was applied cannot be told: /;
    expect(await refusal(watch())).toMatch(untold);

    await disk.empty();
    await site.proxies.gate.set({ kind: 'throttle', bytesPerSecond: STATE_BYTES / 4, direction: 'down' });
    const proving = watch();
    await proving.reaches('it writes its proof', async () =>
      (await inSpool()).some((name) => name.startsWith('proof-')),
    );
    await disk.fill();
    await site.proxies.gate.set({ kind: 'pass' });
    const full = await refusal(proving);
    expect(full).toMatch(untold);
    expect(full).toContain('no room left for the spool file ');

    await disk.empty();
    const { code, stdout, stderr } = await watch().running.finished;
    expect(code, stderr).toBe(0);
    expect(stdout).toContain('restored and proven: snapshot ');
    expect(posts()).toHaveLength(1);
    expect(await site.installs()).toBe(installs + 1);
    expect(await site.canary()).toBe(KEPT);
  });
});
