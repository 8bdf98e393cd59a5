/** A signal at each stage of a restore: 130, what the target holds now is said and true, and the next run ends it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, type ExpectStatic, it } from 'vitest';
import { filesIn, inBucket } from '../support/backup-trial.ts';
import { sealStatus } from '../support/bao-status.ts';
import { runPty, type Typed } from '../support/pty-cli.ts';
import { KEPT, RestoreSite } from '../support/restore-site.ts';
import type { S3Server } from '../support/s3-connection.ts';
import { sharedServer } from '../support/shared-servers.ts';
import type { CliResult } from '../support/strongroom-cli.ts';
import { until } from '../support/until.ts';
import { Watched } from '../support/watched-run.ts';

const STATE_BYTES = 2 ** 20;
const SNAPSHOT = /raft\/snapshot$/;

const UNTOUCHED = ['nothing was installed: the target is as it was', 'run it again when it suits'] as const;
const UNKNOWN = [
  'this run has installed nothing, but an earlier one has handed a snapshot to the target',
  'run the same command again: it looks what became of that install before it does anything',
] as const;
const HANDED_OVER = [
  'the snapshot is with the target, and not every node is proven to serve it',
  'run the same command again: it looks what became of the install, and goes on from there',
] as const;

type Said = readonly [state: string, hint: string];

const stack = new AsyncDisposableStack();
let server: S3Server;
let cache: string;

beforeAll(async () => {
  server = await sharedServer('versitygw');
  cache = await mkdtemp(join(tmpdir(), 'strongroom-compiled-'));
  stack.defer(() => rm(cache, { recursive: true, force: true }));
});
afterAll(() => stack.disposeAsync());

const watch = (site: RestoreSite, more: readonly string[] = []): Watched =>
  new Watched((onStderr) => site.start(more, { onStderr }));

function expectStopped(expect: ExpectStatic, result: CliResult, signal: string, [state, hint]: Said): void {
  expect([result.code, result.signal, result.stdout], result.stderr).toEqual([130, null, '']);
  const said = result.stderr.slice(result.stderr.indexOf('error '));
  expect(said).toBe(`error E_INTERRUPTED: stopped by ${signal}; ${state}\n  hint: ${hint}\n`);
  expect(result.stderr).toContain(`stopping after ${signal}; once more to end at once`);
}

async function expectRestored(expect: ExpectStatic, site: RestoreSite, more: readonly string[] = []): Promise<void> {
  const result = await site.start(more).finished;
  expect(result.code, result.stderr).toBe(0);
  expect(result.stdout).toContain('restored and proven: snapshot ');
  expect(await site.canary()).toBe(KEPT);
  expect(await site.leftovers()).toEqual([]);
}

describe.concurrent('a signal', () => {
  it('before the hand-over: the target is as it was, nothing is left, and it can be restored later', async ({
    expect,
  }) => {
    await using site = await RestoreSite.open({ server, stateBytes: STATE_BYTES, cache });
    const { gate, wire } = site.proxies;
    await site.soil();
    const untouched = async (result: CliResult, signal: string): Promise<void> => {
      expectStopped(expect, result, signal, UNTOUCHED);
      await unchanged();
    };
    const unchanged = async (): Promise<void> => {
      await gate.set({ kind: 'pass' });
      await wire.set({ kind: 'pass' });
      expect([await site.canary(), await site.installs(), await site.note()]).toEqual(['written since', 0, null]);
      expect(await site.leftovers()).toEqual([]);
    };

    await wire.set({ kind: 'throttle', bytesPerSecond: 100_000, direction: 'down' });
    const fetching = watch(site);
    await fetching.says(/^download bucket: /m);
    expect((await filesIn(site.world.spool)).join()).toMatch(/restore-\w{26}-\d+\.spool/);
    await untouched(await fetching.stop('SIGINT'), 'SIGINT');

    const verifying = watch(site);
    await verifying.says(/^verify$/m);
    await untouched(await verifying.stop('SIGTERM'), 'SIGTERM');

    for (const answer of [{ type: '\x03' }, { signal: 'SIGTERM' }] as const) {
      const args = site.args().filter((arg, i, all) => arg !== '--confirm' && all[i - 1] !== '--confirm');
      const answers: Typed[] = [{ after: 'type prod to go on: ', ...answer }];
      const { code, transcript } = await runPty(args, { env: site.env, answers });
      expect(code, transcript).toBe(130);
      const how = 'signal' in answer ? 'stopped by SIGTERM' : 'stopped at a question';
      expect(transcript).toContain(`error E_INTERRUPTED: ${how}; ${UNTOUCHED[0]}`);
      await unchanged();
    }

    await wire.set({ kind: 'throttle', bytesPerSecond: 100_000, direction: 'up' });
    const keeping = watch(site);
    // Its own line comes when the first part is there, which is all of it.
    await keeping.reaches('it is half uploaded', async () => {
      const { uploads } = await inBucket(server, site.bucket);
      return uploads.some((key) => key.endsWith('.snap.age'));
    });
    await untouched(await keeping.stop('SIGTERM'), 'SIGTERM');

    await gate.set({ kind: 'throttle', bytesPerSecond: 100_000, direction: 'up' });
    const sending = watch(site);
    await sending.says(/^install: /m);
    expect(JSON.parse((await site.note()) ?? '{}')).toMatchObject({ stage: 'sending' });
    await untouched(await sending.stop('SIGINT'), 'SIGINT');

    const settling = watch(site);
    await settling.says(/^settle/m);
    expectStopped(expect, await settling.stop('SIGTERM'), 'SIGTERM', HANDED_OVER);
    expect(JSON.parse((await site.note()) ?? '{}')).toMatchObject({ stage: 'sent' });
    await expectRestored(expect, site);
    expect(await site.installs()).toBe(1);
  });

  it('from the hand-over on: it is said who has the snapshot, and the next run installs nothing', async ({
    expect,
  }) => {
    await using site = await RestoreSite.open({ server, stateBytes: STATE_BYTES, cache });
    const { http } = site.proxies;
    await site.soil();
    http.rule({ method: 'POST', path: SNAPSHOT, fault: { kind: 'hold-answer' } });
    const sent = watch(site);
    await sent.reaches('the server applies it', async () => (await site.installs()) > 0);
    expectStopped(expect, await sent.stop('SIGINT'), 'SIGINT', HANDED_OVER);
    http.clear();

    const looking = watch(site);
    await looking.says(/^look: run \S+ handed this snapshot to /m);
    expectStopped(expect, await looking.stop('SIGTERM'), 'SIGTERM', UNKNOWN);

    for (const { after, said } of [
      { after: 0, said: UNKNOWN },
      { after: 1, said: HANDED_OVER },
    ]) {
      http.requests.length = 0;
      http.rule({ method: 'GET', path: SNAPSHOT, after, fault: { kind: 'hold-answer' } });
      const proving = watch(site);
      const asked = () => Promise.resolve(http.requests.filter((line) => SNAPSHOT.test(line)).length > after);
      await proving.reaches(`proof ${after + 1} is under way`, asked);
      expectStopped(expect, await proving.stop('SIGINT'), 'SIGINT', said);
      http.clear();
    }
    expect(await site.canary()).toBe(KEPT);
    await expectRestored(expect, site);
    expect(await site.installs()).toBe(1);
  });

  it('while it waits for restarts: they are asked for again, and then every node is proven', async ({ expect }) => {
    await using site = await RestoreSite.open({ server, stateBytes: 1, cache, nodes: 3 });
    await site.soil();
    const asks = /^restart these processes now/m;
    const waiting = watch(site, ['--wait-for-restarts', '5m']);
    await waiting.says(asks);
    expectStopped(expect, await waiting.stop('SIGINT'), 'SIGINT', HANDED_OVER);
    expect(await site.canary()).toBe(KEPT);

    const active = await site.cluster.waitActive();
    const again = watch(site, ['--wait-for-restarts', '5m']);
    await again.says(asks);
    for (const standby of await site.cluster.standbys()) {
      await standby.stop();
      await again.says(new RegExp(`^restarts: .*${standby.url} unreachable`, 'm'));
      await standby.start();
      await until('it is unsealed', async () => ((await sealStatus(standby)).sealed ? undefined : true));
    }
    const result = await again.running.finished;
    expect(result.code, result.stderr).toBe(0);
    expect(result.stdout).toContain('restored and proven: snapshot ');
    expect(await site.cluster.waitActive()).toBe(active);
    const installs = await Promise.all(
      site.cluster.nodes.map(async (node) => (await node.log()).match(/applying snapshot/g)?.length ?? 0),
    );
    expect(installs.reduce((sum, count) => sum + count)).toBe(1);
    expect(await site.leftovers()).toEqual([]);
  });
});
