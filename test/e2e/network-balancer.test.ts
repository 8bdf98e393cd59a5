/** A load balancer in the place of the nodes, or beside them: no snapshot comes from a standby, and none goes to one. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Bytes } from '../../src/core/flow.ts';
import { ActiveNode } from '../../src/vault/active-node.ts';
import type { Connection } from '../../src/vault/connection.ts';
import { installSnapshot } from '../../src/vault/install.ts';
import { takeSnapshot } from '../../src/vault/snapshot.ts';
import { failureOf, filesIn, inSpool } from '../support/backup-trial.ts';
import { type Balancer, balanceConnections, balanceRequests } from '../support/balancer.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { plainSnapshot } from '../support/restore-trial.ts';
import { grow } from '../support/seed-bulk.ts';
import { backUp } from '../support/strongroom-app.ts';
import { runCli } from '../support/strongroom-cli.ts';
import { CANARY, unchanged } from '../support/unchanged.ts';
import { until } from '../support/until.ts';
import { never, vaultCluster } from '../support/vault-client.ts';
import { RESTORE_POLICY, World, worldEnv } from '../support/world.ts';

const STATE_BYTES = 2 ** 20;
const env = worldEnv({ accessKeyId: '', secretAccessKey: '' });

const stack = new AsyncDisposableStack();
let cluster: BaoCluster;
let world: World;
let folder: string;
let nodes: string[];

beforeAll(async () => {
  const seal = { type: 'static', keyId: 'k1', keyHex: '7b'.repeat(32) } as const;
  cluster = stack.use(await startCluster({ version: '2.7.2', nodes: 3, seal }));
  world = stack.use(await World.create({ destinations: { only: { type: 'directory', path: 'only' } }, canOpen: true }));
  folder = join(world.directory, 'only');
  await mkdir(folder);
  await world.grant(cluster, RESTORE_POLICY);
  await grow(cluster, STATE_BYTES);
  await cluster.call('POST', 'sys/mounts/kv', { type: 'kv' });
  nodes = cluster.nodes.map(({ url }) => url);
  await backUp({ configFile: await world.config(nodes), env });
  await cluster.call('POST', CANARY.path, { value: CANARY.value });
});
afterAll(() => stack.disposeAsync());

let round: AsyncDisposableStack;
beforeEach(() => {
  round = new AsyncDisposableStack();
});
afterEach(async () => {
  await round.disposeAsync();
  expect(await inSpool(world)).toEqual([]);
});

const says = (text: string): string => expect.stringContaining(text) as string;
const untouched = <T>(run: () => Promise<T>): Promise<T> => unchanged(cluster, run);

/** The failure of a command that must end with 14, install nothing and store nothing. */
async function refusal(command: 'backup' | 'restore', configFile: string) {
  const before = await filesIn(folder);
  const confirmed = command === 'restore' ? ['--confirm', 'prod'] : [];
  const result = await untouched(() => runCli([command, '--json', '--config', configFile, ...confirmed], { env }));
  expect(result).toMatchObject({ code: 14, stdout: '' });
  expect(await filesIn(folder)).toEqual(before);
  return failureOf(result);
}

describe.each([
  { what: 'connections', start: balanceConnections },
  { what: 'requests', start: balanceRequests },
])('a balancer of $what in the place of the nodes', ({ start }) => {
  it.each(['backup', 'restore'] as const)('is refused by a %s, and no snapshot passes it', async (command) => {
    const balancer = round.use(await start(nodes));
    const error = await refusal(command, await world.config([balancer.url], {}, 'balanced.yaml'));
    expect(error).toMatchObject({
      code: 'E_PRECONDITION',
      message: expect.stringMatching(
        new RegExp(`^${balancer.url} answers for several nodes: of \\d questions at once, \\d reached the active node`),
      ) as string,
      hint: says('list the address of each node under `nodes`'),
    });
    expect(balancer.requests.filter((line) => line.includes('snapshot'))).toEqual([]);
    expect(new Set(balancer.requests.map((line) => line[0]))).toEqual(new Set(['0', '1', '2']));
  });
});

it('a balancer beside the nodes is refused, when it would pass for a second active one', async () => {
  const balancer = round.use(await balanceConnections(nodes));
  const active = cluster.nodes.indexOf(await cluster.waitActive());
  // The survey's three connections, then everybody in turn.
  balancer.choose((turn) => (turn < 3 ? active : turn % 3));
  const configFile = await world.config([balancer.url, ...nodes], {}, 'beside.yaml');
  expect(await refusal('backup', configFile)).toMatchObject({
    code: 'E_PRECONDITION',
    message: says(`${balancer.url} answers for several nodes`),
  });
});

describe('a balancer that leads to the active node until the moment of the transfer', () => {
  let balancer: Balancer;
  let standby: number;
  let node: ActiveNode;

  beforeEach(async () => {
    const active = await cluster.waitActive();
    standby = cluster.nodes.findIndex((candidate) => candidate !== active);
    balancer = round.use(await balanceConnections(nodes));
    balancer.choose(() => cluster.nodes.indexOf(active));
    node = await round.use(vaultCluster(cluster, { nodes: [balancer.url] })).active(never);
  });

  const onStandby = (): string[] =>
    balancer.requests.filter((line) => line.startsWith(`${standby} `)).map((line) => line.slice(2));
  const take = async (from: ActiveNode): Promise<number> => {
    let bytes = 0;
    for await (const chunk of takeSnapshot(from, { signal: never, deadlineMs: 20_000 })) bytes += chunk.byteLength;
    return bytes;
  };
  const install = async (into: ActiveNode): Promise<{ asked: number; failure: unknown }> => {
    const archive = await plainSnapshot(await cluster.waitActive(), cluster.rootToken);
    let asked = 0;
    async function* body(): Bytes {
      asked += 1;
      yield archive;
    }
    const options = { bytes: archive.length, force: false, signal: never };
    const failure: unknown = await installSnapshot(into, body(), options).catch((e: unknown) => e);
    return { asked, failure };
  };

  it('and to a standby then: it says so itself, on the connection of the transfer, and is asked for no more', async () => {
    balancer.choose(() => standby);
    await untouched(async () => {
      await expect(take(node)).rejects.toMatchObject({ code: 'E_VAULT_STANDBY', retryable: true });
      expect(await install(node)).toMatchObject({ asked: 0, failure: { code: 'E_VAULT_STANDBY', retryable: true } });
    });
    expect(onStandby()).toEqual(['GET /v1/sys/leader', 'GET /v1/sys/leader']);
  });

  it('and hangs up behind the answer: what a standby hands out is not taken, and it is sent nothing', async () => {
    class HungUp extends ActiveNode {
      override async assertActive(on: Connection, signal: AbortSignal): Promise<void> {
        await super.assertActive(on, signal);
        balancer.choose(() => standby);
        balancer.hangUp();
        await until('it is noticed', () => Promise.resolve(on.client.stats.connected ? undefined : true));
      }
    }
    const hungUp = new HungUp(node.view, node.client, node.session);
    const active = cluster.nodes.indexOf(await cluster.waitActive());
    await untouched(async () => {
      const lost = { code: 'E_VAULT_UNREACHABLE', retryable: true, hint: says('before anything was sent or taken') };
      await expect(take(hungUp)).rejects.toMatchObject(lost);
      balancer.choose(() => active);
      expect(await install(hungUp)).toMatchObject({ asked: 0, failure: lost });
    });
    // The question for it was out before anybody could know; its answer is what counts.
    expect(onStandby()).toEqual(['GET /v1/sys/storage/raft/snapshot']);
  });

  it('and stays there: served, since nothing is wrong', async () => {
    expect(await take(node)).toBeGreaterThan(STATE_BYTES);
    expect(onStandby()).toEqual([]);
  });
});
