/** Every node of a restored cluster speaks for itself: who was not seen to restart, who serves the old mounts, who came back. */
import { describe, type ExpectStatic, it } from 'vitest';
import type { RestartNeed } from '../../src/restore/options.ts';
import { proveVoters } from '../../src/restore/voters.ts';
import { failureOf, inSpool } from '../support/backup-trial.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import type { BaoNode } from '../support/bao-node.ts';
import { healthStatus, sealStatus } from '../support/bao-status.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { startHttpFaultProxy } from '../support/http-fault-proxy.ts';
import { NO_S3, RestoreScene, restoreArgs, restoreByCli } from '../support/restore-scene.ts';
import { installsOn, valueAt } from '../support/restore-trial.ts';
import { type AppOptions, openApp } from '../support/strongroom-app.ts';
import { type CliResult, startCli } from '../support/strongroom-cli.ts';
import { until } from '../support/until.ts';

const SEAL = { type: 'static', keyId: 'k1', keyHex: '8a'.repeat(32) } as const;
const MEMORY = 'a standby of OpenBao keeps mounts, policies and tokens of before in memory';

type Voter = { node: string; state: string; mountsAgree: boolean | null; proven: boolean; problem: string | null };

function votersOf(result: CliResult): { voters: Voter[]; complete: boolean; plan: unknown } {
  return JSON.parse(result.stdout) as { voters: Voter[]; complete: boolean; plan: unknown };
}

async function standbysOf(cluster: BaoCluster): Promise<[BaoNode, BaoNode]> {
  const [one, other] = await cluster.standbys();
  if (one === undefined || other === undefined) throw new Error('there are no two standbys');
  return [one, other];
}

async function restart(node: BaoNode): Promise<void> {
  await node.restart();
  await until(`${node.id} is unsealed`, async () => ((await sealStatus(node)).sealed ? undefined : true));
}

/** What a person does who is asked on standard error: restarts each named process, in the order of the list. */
function obey(cluster: BaoCluster): { onStderr: (text: string) => void; restarted: string[]; done: Promise<void> } {
  const restarted: string[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  promise.catch(() => undefined);
  let told = '';
  let isAsked = false;
  const onStderr = (text: string): void => {
    told += text;
    const [list] = /"restart these processes now.*"\}\n/.exec(told) ?? [];
    if (isAsked || list === undefined) return;
    isAsked = true;
    const urls = [...list.matchAll(/(http\S+) \(/g)].map(([, url]) => url ?? '');
    (async () => {
      for (const url of urls) {
        const node = cluster.nodes.find((candidate) => candidate.url === url);
        if (node === undefined) throw new Error(`${url} is none of them`);
        await restart(node);
        restarted.push(url);
      }
    })().then(resolve, reject);
  };
  return { onStderr, restarted, done: promise };
}

/** A write on the active node is read on every one, by each from its own storage. */
async function replicates(cluster: BaoCluster, token: string, value: string): Promise<void> {
  const active = await cluster.waitActive();
  await until('the active node writes', async () => {
    const { status } = await active.request('POST', 'kv/replicated', { token, body: { value } });
    return status === 204 ? true : undefined;
  });
  for (const node of cluster.nodes) {
    await until(`${node.id} reads it`, async () =>
      (await valueAt(node, token, 'kv/replicated')) === value ? true : undefined,
    );
  }
}

describe.concurrent('three nodes that are restored in place', () => {
  it('are proven when each was seen to restart: at once, or by the same command later, which installs nothing', async ({
    expect,
  }) => {
    await using scene = await RestoreScene.open('place', { nodes: 3, seal: SEAL });
    const { cluster } = scene;
    const app = await scene.backedUp();
    await onlyStandbys(scene, expect);
    // A mount that the snapshot does not have: whoever has it in memory still shows it.
    await cluster.call('POST', 'sys/mounts/made-since', { type: 'kv' });
    const active = await cluster.waitActive();
    const standbys = await standbysOf(cluster);
    const urls = standbys.map(({ url }) => url);

    const first = await restoreByCli(app.configFile);
    expect(first.code).toBe(3);
    const failed = failureOf(first);
    expect(failed.code).toBe('E_PARTIAL');
    for (const url of urls) expect(failed.message).toContain(url);
    expect(failed.message).not.toContain(active.url);
    expect(failed.hint).toContain('a restart must be seen, so add --wait-for-restarts 15m');
    const told = votersOf(first);
    expect(told).toMatchObject({ complete: false, proof: { node: active.url, unexpectedCount: 0 } });
    expect(told.voters.find(({ node }) => node === active.url)).toMatchObject({ proven: true, mountsAgree: true });
    for (const url of urls) {
      expect(told.voters.find(({ node }) => node === url)).toMatchObject({
        state: 'standby',
        proven: false,
        problem: `not seen to restart since the install: ${MEMORY}`,
      });
    }
    expect(await scene.installs()).toBe(1);
    await isCaughtByItsMounts(app, urls, expect);

    // Restarted while nobody looked: nobody's word is taken for it, and nothing is installed a second time.
    for (const node of standbys) await restart(node);
    await cluster.waitActive();
    const unseen = await restoreByCli(app.configFile);
    expect(unseen.code).toBe(3);
    const after = votersOf(unseen);
    expect(after).toMatchObject({ complete: false, plan: null });
    expect(after.voters.filter(({ mountsAgree }) => mountsAgree === false)).toEqual([]);
    expect(await scene.notes()).toHaveLength(1);

    const person = obey(cluster);
    const running = startCli(restoreArgs(app.configFile, '--wait-for-restarts', '2m'), {
      env: NO_S3,
      onStderr: person.onStderr,
    });
    const seen = await running.finished;
    await person.done;
    expect([seen.code, seen.stderr.includes('"error"')], seen.stderr).toEqual([0, false]);
    expect(person.restarted.toSorted()).toEqual(urls.toSorted());
    const proven = votersOf(seen);
    expect(proven).toMatchObject({ complete: true, plan: null });
    expect(proven.voters.map((voter) => [voter.proven, voter.problem])).toEqual([0, 1, 2].map(() => [true, null]));
    expect(await scene.installs()).toBe(1);
    expect(await scene.notes()).toEqual([]);
    expect(await inSpool(scene.world)).toEqual([]);
    expect(await scene.canary()).toBe('of the snapshot');
    await replicates(cluster, cluster.rootToken, 'in place');
  });
});

/** With nothing but standbys in the config nothing is sent to any of them but questions. */
async function onlyStandbys({ cluster, world }: RestoreScene, expect: ExpectStatic): Promise<void> {
  const [one, other] = await standbysOf(cluster);
  await using first = await startHttpFaultProxy(one.url);
  await using second = await startHttpFaultProxy(other.url);
  const config = await world.config([first.url, second.url], {}, 'standbys.yaml');
  const result = await restoreByCli(config);
  expect(result).toMatchObject({ code: 20, stdout: '' });
  const active = await cluster.waitActive();
  expect(failureOf(result)).toMatchObject({
    code: 'E_VAULT_STANDBY',
    message: `only standbys of prod are configured; they name ${active.url} as active`,
  });
  const asked = [...first.requests, ...second.requests];
  expect(asked).toContain('GET /v1/sys/leader');
  expect(asked.filter((line) => !line.startsWith('GET /v1/sys/'))).toEqual([]);
  expect(asked.filter((line) => line.includes('snapshot'))).toEqual([]);
  expect(await Promise.all([one, other].map(healthStatus))).toEqual([429, 429]);
}

/** Without the rule of the restarts it is the mount table that gives a standby away. */
async function isCaughtByItsMounts(options: AppOptions, urls: readonly string[], expect: ExpectStatic): Promise<void> {
  const controller = new AbortController();
  const enough = new Error('seen enough');
  let told = '';
  const onProgress: AppOptions['onProgress'] = ({ stage, message }) => {
    // First they catch up with the index of the active node.
    if (stage !== 'voters' || message === undefined || message.includes('has applied index')) return;
    told = message;
    controller.abort(enough);
  };
  await using app = await openApp({ ...options, onProgress });
  const people = { targetToken: null, withSafety: false, askRestart: () => undefined };
  const deps = await app.restoreDeps('prod', { ...people, nextShare: () => Promise.resolve(null) }, controller.signal);
  const active = await deps.restored.active(controller.signal);
  const none: RestartNeed[] = [];
  await expect(proveVoters(deps, active, none, controller.signal)).rejects.toBe(enough);
  expect(told).toBe(urls.map(() => 'its mount table is not that of the active node').join('; '));
}

describe.concurrent('three nodes of a fresh cluster', () => {
  it('that get a foreign snapshot restart standbys first and the active one last; all serve it and replicate', async ({
    expect,
  }) => {
    await using scene = await RestoreScene.open('old', { seal: SEAL });
    await scene.backedUp();
    await scene.node.kill();
    await using target = await startCluster({ version: '2.7.2', nodes: 3, seal: SEAL, idPrefix: 'new' });
    const config = await scene.world.config(target.nodes.map(({ url }) => url));
    const token = await scene.world.write('target-token', target.rootToken);
    const active = await target.waitActive();
    const person = obey(target);
    const args = restoreArgs(config, '--target-token', `file:${token}`, '--wait-for-restarts', '2m');
    const result = await startCli(args, { env: NO_S3, onStderr: person.onStderr }).finished;
    await person.done;
    expect([result.code, result.stderr.includes('"error"')], result.stderr).toEqual([0, false]);
    expect(person.restarted).toHaveLength(3);
    expect(person.restarted.at(-1)).toBe(active.url);
    expect(votersOf(result)).toMatchObject({ complete: true, plan: { force: true, isForeign: true } });
    expect(votersOf(result).voters.map(({ proven, mountsAgree }) => [proven, mountsAgree])).toEqual(
      target.nodes.map(() => [true, true]),
    );
    const old = scene.cluster.rootToken;
    for (const node of target.nodes) expect(await valueAt(node, old, 'kv/canary')).toBe('of the snapshot');
    await replicates(target, old, 'new cluster');
    expect(await scene.notes()).toEqual([]);
  });
});

describe.concurrent('a configured node that waits to join', () => {
  it('and answers nothing holds up nobody: restored, not proven there, exit 3', async ({ expect }) => {
    await using scene = await RestoreScene.open('first');
    const { cluster } = scene;
    await using joining = await startCluster({ version: '2.7.2', idPrefix: 'joiner', initialise: false });
    // It is let in, has its shares, and then never reaches anybody again.
    await using way = await startFaultProxy(scene.node.url);
    const app = await scene.backedUp([scene.node.url, joining.first.url]);
    await joining.first.call('POST', 'sys/storage/raft/join', { body: { leader_api_addr: way.url, retry: true } });
    await until('it has asked', async () => (way.totals.bytesDown > 0 ? true : undefined));
    await way.set({ kind: 'refuse' });
    const [first, second] = cluster.unsealShares;
    await joining.first.call('PUT', 'sys/unseal', { body: { key: first } });
    const last = joining.first.request('PUT', 'sys/unseal', { body: { key: second }, timeoutMs: 3000 });
    await expect(last).rejects.toThrow('aborted');

    const result = await restoreByCli(app.configFile);
    expect(result.code).toBe(3);
    expect(failureOf(result)).toMatchObject({
      code: 'E_PARTIAL',
      message: `the snapshot is restored, but not proven on ${joining.first.url}`,
    });
    const { voters } = JSON.parse(result.stdout) as { voters: { node: string; proven: boolean; problem: string }[] };
    expect(voters.map(({ node, proven }) => [node, proven])).toEqual([
      [scene.node.url, true],
      [joining.first.url, false],
    ]);
    expect(voters[1]?.problem).toMatch(/^it is (sealed|hanging)$/);
    expect([await scene.canary(), await installsOn(scene.node)]).toEqual(['of the snapshot', 1]);
  });
});
