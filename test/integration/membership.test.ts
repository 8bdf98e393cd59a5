/** Members that change between two real backups of a cluster of three. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { startCluster } from '../support/bao-cluster.ts';
import { runCli } from '../support/strongroom-cli.ts';
import { World } from '../support/world.ts';

describe('members', () => {
  it('that change between two backups are critical, until a window or the inventory declares it', async () => {
    await using bao = await startCluster({ version: '2.7.2', nodes: 3 });
    await using world = await World.create({ destinations: { a: { type: 'directory', path: 'a' } } });
    await mkdir(join(world.directory, 'a'));
    await world.grant(bao);
    const nodes = bao.nodes.map(({ url }) => url);
    const configured = (change: Record<string, unknown> = {}) => world.config(nodes, change);
    const check = async (change: Record<string, unknown> = {}) =>
      await runCli(['check', '--max-age', '8h', '--config', await configured(change)]);
    const backup = async () => {
      const made = await runCli(['backup', '--config', await configured()]);
      expect(made).toMatchObject({ code: 0 });
      return made.stdout + made.stderr;
    };
    await backup();
    await backup();
    expect(await check()).toMatchObject({ code: 0 });

    const [leaver] = await bao.standbys();
    if (leaver === undefined) throw new Error('no standby');
    const begun = new Date();
    await bao.call('POST', 'sys/storage/raft/remove-peer', { server_id: leaver.id });
    expect(await backup()).toMatch(new RegExp(`raft member ${leaver.id} at \\S+ is gone since the last snapshot`));
    const found = await check();
    expect(found.code).toBe(2);
    expect(found.stdout).toMatch(new RegExp(`^CRITICAL - prod: raft member ${leaver.id} at \\S+ is gone since 20`));
    // One backup later it is still told: whoever looks once a day must see it, too.
    await backup();
    expect(await check()).toMatchObject({ code: 2 });

    const minute = (n: number): string => new Date(begun.getTime() + n * 60_000).toISOString();
    expect(await check({ membershipWindows: [{ from: minute(-1), to: minute(1) }] })).toMatchObject({ code: 0 });
    expect(await check({ membershipWindows: [{ from: minute(-60), to: minute(-30) }] })).toMatchObject({ code: 2 });

    const answer = await bao.call('GET', 'sys/storage/raft/configuration');
    const { servers } = (answer.json as { data: { config: { servers: { node_id: string; address: string }[] } } }).data
      .config;
    const members = servers.map(({ node_id: id, address }) => ({ id, address }));
    expect(members).toHaveLength(2);
    expect(await check({ members })).toMatchObject({ code: 0 });
    const moved = members.map(({ id }, i) => ({ id, address: `10.0.0.${i}:8201` }));
    const other = await check({ members: moved });
    expect(other.code).toBe(2);
    expect(other.stdout).toContain('but the inventory says 10.0.0.0:8201');
  });
});
