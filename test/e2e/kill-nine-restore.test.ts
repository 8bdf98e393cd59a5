/** `kill -9` at any moment of a restore: the same command again goes on, installs nothing twice, and ends the same. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { filesIn } from '../support/backup-trial.ts';
import { startCluster } from '../support/bao-cluster.ts';
import { sealStatus } from '../support/bao-status.ts';
import { startHttpFaultProxy } from '../support/http-fault-proxy.ts';
import { KEPT, RestoreSite } from '../support/restore-site.ts';
import { installsOn, valueAt } from '../support/restore-trial.ts';
import { seeded } from '../support/seeded.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { type Moment, type Ran, runUntil, Spans, STAGES, type Stage } from '../support/stopped-restores.ts';
import { backUp } from '../support/strongroom-app.ts';
import { type RunningCli, startCli } from '../support/strongroom-cli.ts';
import { until } from '../support/until.ts';
import { Watched } from '../support/watched-run.ts';
import { RESTORE_POLICY, World, worldEnv } from '../support/world.ts';

/** Clusters that are restored at the same time: most of it is the server's own pause. */
const SITES = 6;
const KILLS = 100;
/** A machine that becomes quicker meanwhile lets runs end before their moment: such a chain is shorter. */
const MAX_CHAINS = 40;
/** Kills of one chain: before anything was handed over, then once around it, then of the runs that go on from there. */
const BEFORE = 4;
const AFTER = 3;
const STATE_BYTES = 2 ** 20;
/** Seconds on a quiet machine: a run needs two of them of a core, but for the server's pause. */
const TIMEOUT_MS = 900_000;
const SEED = Number(process.env['STRONGROOM_KILL_SEED'] ?? Date.now() % 2 ** 31);

const stack = new AsyncDisposableStack();
const spans = new Spans();
const sites: RestoreSite[] = [];

beforeAll(async () => {
  const cache = await mkdtemp(join(tmpdir(), 'strongroom-compiled-'));
  stack.defer(() => rm(cache, { recursive: true, force: true }));
  const server = await sharedServer('versitygw');
  const options = { server, stateBytes: STATE_BYTES, cache, direct: true };
  const opened = Array.from({ length: SITES }, () => RestoreSite.open(options));
  for (const site of await Promise.all(opened)) sites.push(stack.use(site));
  // Fills the cache of compiled code, as on any machine that ran it before, and tells how long the stages last.
  const [first] = sites;
  if (first === undefined) throw new Error('no site');
  expect((await runUntil(first, null, spans)).code).toBe(0);
});
afterAll(() => stack.disposeAsync());

describe.concurrent(`killed at ${KILLS} random moments of its life (STRONGROOM_KILL_SEED=${SEED})`, () => {
  it(
    'leaves a truth to be seen, and the next run that is let be ends it',
    async () => {
      const killed: Stage[] = [];
      const failures: unknown[] = [];
      let chain = 0;
      const work = async (site: RestoreSite): Promise<void> => {
        while (killed.length < KILLS && failures.length === 0) {
          if (chain === MAX_CHAINS) throw new Error(`only ${killed.length} runs of ${chain} chains could be killed`);
          chain += 1;
          await runChain(site, chain, killed);
        }
      };
      await Promise.all(sites.map((site) => work(site).catch((e: unknown) => failures.push(e))));
      if (failures.length > 0) throw failures[0];
      // The moments were what they claim to be: some of them in every stage.
      expect([...new Set(killed)].toSorted()).toEqual([...STAGES].toSorted());
    },
    TIMEOUT_MS,
  );
});

describe.concurrent('killed before a Shamir cluster is open again', () => {
  it(
    'goes on with the shares where the last one stopped, and installs nothing',
    async ({ expect }) => {
      const destinations = { only: { type: 'directory', path: 'only' } } as const;
      await using world = await World.create({ destinations, canOpen: true });
      await mkdir(join(world.directory, 'only'));
      await using source = await startCluster({ version: '2.7.2', idPrefix: 'source-' });
      await source.call('POST', 'sys/mounts/kv', { type: 'kv' });
      await source.call('POST', 'kv/canary', { value: KEPT });
      await world.grant(source, RESTORE_POLICY);
      const env = worldEnv({ accessKeyId: '', secretAccessKey: '' });
      await backUp({ configFile: await world.config([source.first.url]), env });

      await using target = await startCluster({ version: '2.7.2', idPrefix: 'target-' });
      await using proxy = await startHttpFaultProxy(target.first.url);
      const config = await world.config([proxy.url]);
      const token = await world.write('target-token', target.rootToken);
      const shares = await world.write('shares', source.unsealShares.join('\n'));
      const args = [
        '--config',
        config,
        '--target-token',
        `file:${token}`,
        '--shares',
        `file:${shares}`,
        '--confirm',
        'prod',
      ];
      const start = (onStderr?: (text: string) => void): RunningCli =>
        startCli(['restore', ...args], { env, ...(onStderr === undefined ? {} : { onStderr }) });
      const unseals = (): number => proxy.requests.filter((line) => line === 'PUT /v1/sys/unseal').length;
      const killWhen = async (what: string, isThere: () => Promise<boolean>): Promise<void> => {
        const run = new Watched(start);
        await run.reaches(what, isThere);
        expect(await run.stop('SIGKILL')).toMatchObject({ signal: 'SIGKILL', stdout: '' });
      };

      await killWhen('the install has begun', async () => (await installsOn(target.first)) > 0);
      const sealed = async () => ((await sealStatus(target.first)).sealed ? true : undefined);
      await until('the target has sealed itself', sealed, { timeoutMs: TIMEOUT_MS });
      expect(unseals()).toBe(0);

      // The first share is given, the second on its way.
      proxy.rule({ method: 'PUT', path: /sys\/unseal$/, after: 1, fault: { kind: 'delay', ms: TIMEOUT_MS } });
      await killWhen('the second share is given', () => Promise.resolve(unseals() === 2));
      expect(await sealStatus(target.first)).toMatchObject({ sealed: true, progress: 1 });
      proxy.clear();

      const { code, stdout, stderr } = await start().finished;
      expect(code, stderr).toBe(0);
      expect(stdout).toContain('restored and proven: snapshot ');
      expect(await installsOn(target.first)).toBe(1);
      expect(await valueAt(target.first, source.rootToken, 'kv/canary')).toBe(KEPT);
      expect(await filesIn(world.spool)).toEqual([]);
    },
    TIMEOUT_MS,
  );
});

/** Kills run after run, lets the last one be, and looks after each what is there. `killed` gets where each was killed. */
async function runChain(site: RestoreSite, number: number, killed: Stage[]): Promise<void> {
  await site.soil();
  let installed = await site.installs();
  const moments = momentsOf(number);
  for (let run = 1; ; run += 1) {
    const moment = killed.length < KILLS ? (moments.shift() ?? null) : null;
    const ran = await runUntil(site, moment, spans);
    const aim = moment === null ? 'let be' : `killed at ${moment.stage} ${moment.share.toFixed(3)}`;
    const where = `seed ${SEED}, chain ${number}, run ${run}, ${aim}`;
    if (ran.signal !== 'SIGKILL') return await expectDone(site, ran, installed, where);
    killed.push(ran.reached);
    if (ran.stdout.includes('restored and proven')) expect(await site.canary(), where).toBe(KEPT);
    const installs = await site.installs();
    if ((await site.note()) === null) {
      // Nothing was handed over, or all of it is proven: nothing in between.
      const expected = installs === installed ? ['written since', 0] : [KEPT, 1];
      expect([await site.canary(), installs - installed], where).toEqual(expected);
      if (installs > installed) {
        // Killed with nothing left to do but to say so: the next run is another restore.
        installed = installs;
        await site.soil();
      }
    }
  }
}

async function expectDone(site: RestoreSite, ran: Ran, installed: number, where: string): Promise<void> {
  expect([ran.code, ran.signal], `${where}\n${ran.stderr}`).toEqual([0, null]);
  expect(ran.stdout, where).toContain('restored and proven: snapshot ');
  expect(ran.stdout, where).toMatch(/^ {2}before {6}kept as \w{26}: /m);
  expect(await site.canary(), where).toBe(KEPT);
  expect((await site.installs()) - installed, `${where}\n${ran.stderr}`).toBe(1);
  expect(await site.leftovers(), where).toEqual([]);
}

function momentsOf(chain: number): Moment[] {
  const random = seeded(SEED + chain);
  const pick = (stages: readonly Stage[]): Moment => {
    const stage = stages[Math.floor(random() * stages.length)];
    if (stage === undefined) throw new Error('no stage to pick');
    return { stage, share: random() };
  };
  const before = (): Moment => pick(['start', 'fetch', 'verify', 'look', 'safety', 'safety']);
  const after = (): Moment => pick(['start', 'fetch', 'verify', 'look', 'settle', 'prove']);
  return [
    ...Array.from({ length: BEFORE }, before),
    // In turn, so that each of them is met.
    { stage: (['install', 'settle', 'prove'] as const)[chain % 3] ?? 'install', share: random() },
    ...Array.from({ length: AFTER }, after),
  ];
}
