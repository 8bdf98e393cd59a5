/** What one scheduled backup, and one look for missed runs, ask of S3, KMS and the cluster: counted, not computed. */
import { type HttpFaultProxy, startHttpFaultProxy } from '../../test/support/http-fault-proxy.ts';
import { LoadScene } from '../../test/support/load-scene.ts';
import type { CliOptions } from '../../test/support/strongroom-cli.ts';
import { linesOf, saidBy } from './watch.ts';

const CLUSTERS = 6;
const PATIENCE_MS = 5 * 60_000;

export type Calls = {
  clusters: number;
  /** of one backup, both destinations together, by operation */
  s3: Record<string, number>;
  kms: Record<string, number>;
  /** requests to the cluster */
  vault: number;
  /** S3 requests of the first look of a worker, by cluster: afterwards it knows what was done */
  firstLook: number;
  /** of a later look, when nothing is due in between */
  laterLook: number;
};

/** One worker, a proxy that counts before S3, and a schedule that fires each minute. */
export async function measureCalls(archive: Uint8Array, how: Pick<CliOptions, 'main' | 'nodeArgs'>): Promise<Calls> {
  let proxy: HttpFaultProxy | undefined;
  const before = async ({ endpoint }: { endpoint: string }): Promise<HttpFaultProxy> => {
    proxy = await startHttpFaultProxy(endpoint);
    return proxy;
  };
  await using scene = await LoadScene.open({ clusters: CLUSTERS, archive, before, how });
  if (proxy === undefined) throw new Error('no proxy');
  const { requests } = proxy;
  const { kms, fleet } = scene;

  // Everybody's first backup: it is not like the others, for there is nothing before it.
  await scene.configure(CLUSTERS, { cron: '0 * * * *' }, { lookEvery: '1h' });
  const first = scene.worker();
  await saidBy([first], 'run ended', CLUSTERS, PATIENCE_MS);
  await first.end();

  // Another worker knows nothing yet. Nothing is due for the rest of the hour, or it says so.
  requests.length = 0;
  await scene.configure(CLUSTERS, { cron: '0 * * * *' }, { lookEvery: '10s' });
  const second = scene.worker();
  await saidBy([second], 'looked for missed runs', 1, PATIENCE_MS);
  const firstLook = requests.length / CLUSTERS;
  requests.length = 0;
  await saidBy([second], 'looked for missed runs', 2, PATIENCE_MS);
  const laterLook = requests.length / CLUSTERS;
  await second.end();

  await scene.configure(CLUSTERS, { cron: '* * * * *', jitter: '20s' }, { lookEvery: '1h' });
  const third = scene.worker();
  await saidBy([third], 'looked for missed runs', 1, PATIENCE_MS);
  requests.length = 0;
  kms.clearCalls();
  const asked = fleet.requests;
  await saidBy([third], 'run ended', CLUSTERS, PATIENCE_MS);
  const failed = linesOf([first, second, third], 'run failed').length;
  if (failed > 0) throw new Error(`${failed} runs failed while calls were counted`);
  return {
    clusters: CLUSTERS,
    s3: perBackup(requests.map(operationOf)),
    kms: perBackup(kms.calls.map(({ operation }) => operation)),
    vault: (fleet.requests - asked) / CLUSTERS,
    firstLook,
    laterLook,
  };
}

function perBackup(names: readonly string[]): Record<string, number> {
  const counts = [...Map.groupBy(names, (name) => name)].map(([name, all]) => [name, all.length / CLUSTERS] as const);
  return Object.fromEntries(counts.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** `GET /bucket?list-type=2` is another operation, at another price, than `GET /bucket/key`. */
function operationOf(request: string): string {
  const [method = '', target = ''] = request.split(' ');
  const [path = '', query = ''] = target.split('?');
  const isBucket = path.split('/').filter((part) => part !== '').length === 1;
  if (method === 'GET' && isBucket) return /(?:^|&)uploads/.test(query) ? 'LIST uploads' : 'LIST';
  if (method === 'POST' && /(?:^|&)uploads/.test(query)) return 'POST begin of an upload';
  if (method === 'POST') return 'POST end of an upload';
  if (method === 'PUT' && query.includes('partNumber=')) return 'PUT part';
  return method;
}
