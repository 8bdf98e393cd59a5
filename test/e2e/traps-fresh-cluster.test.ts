/** What waits for a snapshot in a cluster that it is not from: traps sprung by plain HTTP, then strongroom. */
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { diffArchives } from '../../src/archive/diff.ts';
import { chunked } from '../support/archive-builder.ts';
import { failureOf, inSpool } from '../support/backup-trial.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import type { BaoNode } from '../support/bao-node.ts';
import { leader, raftServers } from '../support/bao-status.ts';
import { type HttpFaultProxy, startHttpFaultProxy } from '../support/http-fault-proxy.ts';
import { installsOn, plainSnapshot, valueAt } from '../support/restore-trial.ts';
import { textAt } from '../support/seed-part.ts';
import { backUp, bringBack } from '../support/strongroom-app.ts';
import { runCli, startCli } from '../support/strongroom-cli.ts';
import { until } from '../support/until.ts';
import { World, worldEnv } from '../support/world.ts';

const env = worldEnv({ accessKeyId: '', secretAccessKey: '' });
const never = new AbortController().signal;

async function openWorld(): Promise<World> {
  const world = await World.create({ destinations: { only: { type: 'directory', path: 'only' } }, canOpen: true });
  await mkdir(join(world.directory, 'only'));
  return world;
}

describe('a snapshot of a Shamir cluster, 2 of 3 shares', () => {
  /** what production tells others to reach it by: nobody but its standbys should ever ask there */
  let advertised: HttpFaultProxy;
  let production: BaoCluster;
  let world: World;

  beforeAll(async () => {
    production = await startCluster({ version: '2.7.2', idPrefix: 'prod-', initialise: false });
    advertised = await startHttpFaultProxy(production.first.url);
    production.first.configure({ top: { api_addr: advertised.url } });
    await production.first.restart();
    await production.initialise();
    await production.call('POST', 'sys/mounts/kv', { type: 'kv' });
    await production.call('POST', 'kv/canary', { value: 'of the snapshot' });
    world = await openWorld();
    await world.grant(production);
    await backUp({ configFile: await world.config([production.first.url]), env });
    await world.write('shares', production.unsealShares.join('\n'));
  });
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
    await production?.[Symbol.asyncDispose]();
    await advertised?.[Symbol.asyncDispose]();
  });

  const restoreArgs = async (target: BaoCluster): Promise<string[]> => {
    const config = await world.config(target.nodes.map(({ url }) => url));
    const token = await world.write('target-token', target.rootToken);
    const shares = ['--shares', `file:${join(world.directory, 'shares')}`];
    return ['restore', '--confirm', 'prod', '--config', config, '--target-token', `file:${token}`, ...shares];
  };

  it('makes the nodes of a fresh cluster forward writes to production; strongroom waits for one of their own', async () => {
    const before = await plainSnapshot(production.first, production.rootToken);
    const membersBefore = await raftServers(production.first, production.rootToken);
    await using target = await startCluster({ version: '2.7.2', nodes: 3, idPrefix: 'new-' });
    advertised.requests.length = 0;

    const running = startCli(await restoreArgs(target), { env });
    const trap = await until('a restored node takes production for its leader', () => forwardedWrite(target.nodes), {
      everyMs: 20,
    });
    const result = await running.finished;
    expect(result.code).toBe(0);

    // The trap: a write sent to the restored cluster is one in production.
    expect(trap).toBe(204);
    expect(await valueAt(production.first, production.rootToken, 'kv/forwarded')).toBe('sent to the new cluster');
    // strongroom said so beforehand, named what it saw, and sent nothing there: not to its address, nor through a standby.
    expect(result.stderr).toContain('a restored node that can reach it may forward writes to it');
    expect(result.stderr).toContain(
      `names ${advertised.url} as the active node, which is not one of the configured nodes; it is never contacted`,
    );
    expect(advertised.requests).toEqual([]);
    expect(await raftServers(production.first, production.rootToken)).toEqual(membersBefore);
    const after = await plainSnapshot(production.first, production.rootToken);
    const diff = await diffArchives(chunked(before), chunked(after), {
      product: 'openbao',
      sealType: 'shamir',
      signal: never,
    });
    const changes = [...diff.unexpected, ...diff.allowed].map(({ kind, key }) => `${kind} ${key}`);
    expect(changes).toEqual([expect.stringMatching(/^added logical\/[^/]+\/forwarded$/) as string]);

    const active = await target.waitActive();
    expect(result.stdout).toContain(`node        ${active.url}`);
    expect(result.stdout).toContain('restored and proven');
    expect(await valueAt(active, production.rootToken, 'kv/canary')).toBe('of the snapshot');
    expect(await valueAt(active, production.rootToken, 'kv/forwarded')).toBe(404);
    expect((await leader(active)).leader_address).toBe(active.url);
  });

  /** The status of a write through the first node that names production; undefined while none does. */
  async function forwardedWrite(nodes: readonly BaoNode[]): Promise<number | undefined> {
    for (const node of nodes) {
      const named = await leader(node).catch(() => undefined);
      if (named?.leader_address !== advertised.url) continue;
      const body = { value: 'sent to the new cluster' };
      return (await node.request('POST', 'kv/forwarded', { token: production.rootToken, body })).status;
    }
    return undefined;
  }

  it('makes a node initialised with 1 of 1 refuse the right shares; strongroom says it, and goes on once it is restarted', async () => {
    const seal = { type: 'shamir', shares: 1, threshold: 1 } as const;
    await using target = await startCluster({ version: '2.7.2', seal, idPrefix: 'one-' });
    const args = await restoreArgs(target);
    const result = await runCli([...args, '--json'], { env });
    expect(result).toMatchObject({ code: 12, stdout: '' });
    expect(failureOf(result)).toMatchObject({
      code: 'E_UNSEAL',
      message: expect.stringMatching(
        /^the snapshot is installed, but \S+ still counts shares as before \(1\)/,
      ) as string,
      hint: "restart this node's process, then run the same command again: it goes on from here",
    });

    // The trap itself: what the right share gets.
    const [share] = production.unsealShares;
    const refused = await target.first.request('PUT', 'sys/unseal', { body: { key: share } });
    expect([refused.status, refused.body.toString()]).toEqual([400, expect.stringContaining('invalid key size 33')]);

    const installs = await installsOn(target.first);
    await target.first.restart();
    const again = await runCli([...args, '--json'], { env });
    expect(again.code).toBe(0);
    expect(JSON.parse(again.stdout)).toMatchObject({ complete: true, plan: null, proof: { unexpectedCount: 0 } });
    expect(await installsOn(target.first)).toBe(installs);
    expect(await valueAt(target.first, production.rootToken, 'kv/canary')).toBe('of the snapshot');
  });

  it('of a node initialised with 1 of 1 is waited out: whoever restarts the process is enough', async () => {
    const seal = { type: 'shamir', shares: 1, threshold: 1 } as const;
    await using target = await startCluster({ version: '2.7.2', seal, idPrefix: 'once-' });
    const asked = Promise.withResolvers<void>();
    let told = '';
    const onStderr = (text: string): void => {
      told += text;
      if (told.includes('restart these processes now')) asked.resolve();
    };
    const running = startCli([...(await restoreArgs(target)), '--wait-for-restarts', '2m'], { env, onStderr });
    await Promise.race([asked.promise, running.finished]);
    await target.first.restart();
    const result = await running.finished;
    expect(told).toMatch(/caution +the target counts 1 shares, the snapshot 2: .* until its process is restarted/);
    expect(result.stdout).toContain('restored and proven');
    expect(result.code).toBe(0);
    expect(await valueAt(target.first, production.rootToken, 'kv/canary')).toBe('of the snapshot');
  });

  it('takes three shares on a node initialised with 3 of 5: strongroom gives it what it asks for', async () => {
    const seal = { type: 'shamir', shares: 5, threshold: 3 } as const;
    await using target = await startCluster({ version: '2.7.2', seal, idPrefix: 'five-' });
    const result = await runCli([...(await restoreArgs(target)), '--json'], { env });
    expect(result.code).toBe(0);
    expect(JSON.parse(result.stdout)).toMatchObject({ plan: { sharesNeeded: 3 }, proof: { unexpectedCount: 0 } });
    expect(await valueAt(target.first, production.rootToken, 'kv/canary')).toBe('of the snapshot');
    expect(await inSpool(world)).toEqual([]);
  });
});

describe('a snapshot with leases', () => {
  const SEAL = { type: 'static', keyId: 'k1', keyHex: '7c'.repeat(32) } as const;
  /** a system outside: the management API of a broker, as far as the engine uses it */
  let broker: Server;
  const calls: string[] = [];
  let source: BaoCluster;
  let world: World;

  beforeAll(async () => {
    broker = createServer((request, response) => {
      calls.push(`${request.method ?? ''} ${request.url ?? ''}`);
      request.resume();
      response.writeHead(request.method === 'DELETE' ? 204 : 201).end();
    });
    await new Promise<void>((resolve) => broker.listen(0, '127.0.0.1', resolve));
    source = await startCluster({ version: '2.7.2', seal: SEAL, idPrefix: 'src-' });
    world = await openWorld();
    await world.grant(source);
    const url = `http://127.0.0.1:${(broker.address() as AddressInfo).port}`;
    await source.call('POST', 'sys/mounts/rabbitmq', { type: 'rabbitmq' });
    const connection = { connection_uri: url, username: 'admin', password: 'admin', verify_connection: false };
    await source.call('POST', 'rabbitmq/config/connection', connection);
    await source.call('POST', 'rabbitmq/config/lease', { ttl: '3s', max_ttl: '3s' });
    await source.call('POST', 'rabbitmq/roles/app', { vhosts: '{"/":{"configure":".*","write":".*","read":".*"}}' });
  });
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
    await source?.[Symbol.asyncDispose]();
    broker?.closeAllConnections();
    await new Promise((resolve) => broker?.close(resolve));
  });

  it('revokes those that ran out, against the real system; plan and inspect name them beforehand', async () => {
    const lent = await source.call('GET', 'rabbitmq/creds/app');
    const user = `/api/users/${textAt(lent, 'data', 'username')}`;
    expect(calls).toContain(`PUT ${user}`);
    const configFile = await world.config([source.first.url]);
    await backUp({ configFile, env });
    const archive = await plainSnapshot(source.first, source.rootToken);
    const deleted = () => calls.filter((call) => call === `DELETE ${user}`).length;
    await until('the source revokes it', () => Promise.resolve(deleted() === 1 ? true : undefined));
    await source.first.kill();

    const file = join(world.directory, 'leases.snap');
    await writeFile(file, archive);
    const inspected = await runCli(['inspect', file]);
    expect(inspected.code).toBe(0);
    expect(inspected.stdout).toMatch(/rabbitmq\/creds\/app\s+1$/m);
    expect(inspected.stdout).toMatch(
      /leases? would be revoked by an un-isolated restore as they expire, 1 of them of secrets/,
    );

    await using target = await startCluster({ version: '2.7.2', seal: SEAL, idPrefix: 'dst-' });
    await world.config([target.first.url]);
    const token = await world.write('target-token', target.rootToken);
    const planned = await runCli(['restore', '--dry-run', '--config', configFile, '--target-token', `file:${token}`], {
      env,
    });
    expect(planned.code).toBe(0);
    expect(planned.stdout).toMatch(
      /^caution .*leases? would be revoked by an un-isolated restore .* 1 of them of secrets/m,
    );
    expect(deleted()).toBe(1);

    await bringBack({ configFile, env }, { targetToken: target.rootToken });
    // The trap itself: the same user is deleted again, or whoever has its name by now.
    await until('the restored cluster revokes it once more', () => Promise.resolve(deleted() === 2 ? true : undefined));
  });
});
