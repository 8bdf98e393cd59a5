/** A process that is back before anybody looks again is given away by the end of its connections. */
import { expect, test } from 'vitest';
import type { NodeView } from '../../src/vault/node-view.ts';
import { startCluster } from '../support/bao-cluster.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { until } from '../support/until.ts';
import { never, vaultCluster } from '../support/vault-client.ts';

test('a node is looked at when a connection to it ends: gone when its process died, there when only the network broke', async () => {
  await using bao = await startCluster({ version: '2.7.2', nodes: 1 });
  const node = await bao.waitActive();
  await using proxy = await startFaultProxy(node.url);
  await using cluster = vaultCluster(bao, { nodes: [node.url, proxy.url] });
  const views: NodeView[] = [];
  const seen = (url: string): string[] => views.filter((view) => view.url === url).map(({ state }) => state);
  const over = new AbortController();

  await cluster.survey(never);
  const watches = [node.url, proxy.url].map((url) => cluster.watch(url, (view) => views.push(view), over.signal));
  proxy.resetConnections();
  await until('the broken connection was looked into', async () => (seen(proxy.url).length > 0 ? true : undefined));
  expect(new Set(seen(proxy.url))).toEqual(new Set(['active']));
  expect(seen(node.url)).toEqual([]);

  // One after the other: what is asked meanwhile on those that are left would break, and the node still lives.
  for (let round = 0; round < 40; round += 1) {
    await cluster.survey(never);
    const before = seen(proxy.url).length;
    await proxy.resetOneByOne();
    await until('it was looked at again', async () => (seen(proxy.url).length > before ? true : undefined));
  }
  expect(new Set(seen(proxy.url))).toEqual(new Set(['active']));

  const looks = seen(node.url).length;
  await node.kill();
  // Nobody asked the node since: only the end of the connection can have told.
  await until('the death was seen', async () => (seen(node.url).length > looks ? true : undefined));
  expect(seen(node.url)[looks]).toBe('unreachable');

  over.abort();
  await Promise.all(watches);
});
