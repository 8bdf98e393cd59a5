/** strongroom serve inside the test's process, on directories with signed backups, runs, proofs and holds in them. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { stringify } from 'yaml';
import { type Config, loadConfig } from '../../src/config/load.ts';
import { newRunId, type SnapshotId } from '../../src/core/ids.ts';
import { generateBreakGlass } from '../../src/crypt/generate.ts';
import { serve } from '../../src/watch/serve.ts';
import { at, Scene } from '../unit/observe/scene.ts';
import { until } from './until.ts';

export const TOKENS = { viewer: 'viewer-token-of-the-test', operator: 'operator-token-of-the-test' } as const;
/** Would run in a page that does not escape it. */
export const HOSTILE = `"><img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`;
const NOW = at(12);
const never = new AbortController().signal;

export class DashboardSite implements AsyncDisposable {
  readonly scene: Scene;
  readonly url: string;
  readonly log: Record<string, unknown>[];
  /** what the server takes for now */
  readonly clock: { time: Date };
  readonly #end: () => Promise<void>;

  private constructor(parts: Pick<DashboardSite, 'scene' | 'url' | 'log' | 'clock'>, end: () => Promise<void>) {
    this.scene = parts.scene;
    this.url = parts.url;
    this.log = parts.log;
    this.clock = parts.clock;
    this.#end = end;
  }

  /**
   * Serves until it is disposed. `change` is put over `serve` of the config, `document` over all of it; `more` are further
   * clusters, each put over the block of `prod`.
   */
  static async open(
    change: Record<string, unknown> = {},
    document: Record<string, unknown> = {},
    more: Record<string, Record<string, unknown>> = {},
  ): Promise<DashboardSite> {
    const scene = await Scene.create();
    const config = await writeConfig(scene, change, document, more);
    const lines: Record<string, unknown>[] = [];
    const log = pino(
      { level: 'info' },
      { write: (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>) },
    );
    const clock = { time: NOW };
    const stop = new AbortController();
    const listening = Promise.withResolvers<string>();
    const load = (): Promise<Config> => loadConfig(config, { env: {} });
    const served = serve(
      {
        config: await load(),
        load,
        listen: { host: '127.0.0.1', port: 0 },
        clock: { now: () => clock.time },
        log,
        onListening: listening.resolve,
      },
      stop.signal,
    );
    served.catch(listening.reject);
    const end = async (): Promise<void> => {
      stop.abort();
      await served;
      await scene[Symbol.asyncDispose]();
    };
    return new DashboardSite({ scene, url: await listening.promise, log: lines, clock }, end);
  }

  /** A week of one cluster, with all that can be wrong in it. */
  async fill(): Promise<{ newest: SnapshotId; old: SnapshotId }> {
    const { scene } = this;
    const ids: SnapshotId[] = [];
    for (let day = 6; day >= 0; day -= 1) {
      const time = at(6 - 24 * day);
      const change = day === 3 ? { in: ['a'] } : {};
      const manifest = { warnings: day === 1 ? [`the node said ${HOSTILE}`] : [] };
      ids.push(await scene.backup(time, { ...change, manifest }));
      await scene.run(time, { snapshot: ids.at(-1) ?? null });
    }
    await scene.backup(at(-30), { purpose: 'safety', moves: false });
    await scene.run(at(8), {
      outcome: 'failed',
      error: { code: 'E_VAULT_SEALED', message: `node vault-1 is sealed ${HOSTILE}`, hint: 'unseal it' },
    });
    const [old, , , , , yesterday, newest] = ids;
    if (old === undefined || newest === undefined || yesterday === undefined) throw new Error('no snapshots');
    await scene.proof(at(7), newest, 'a');
    await scene.proof(at(7), yesterday, 'a');
    await scene.proof(at(9), yesterday, 'b', 'bad');
    await this.hold(old, HOSTILE, 'the audit of the year');
    return { newest, old };
  }

  async hold(snapshot: SnapshotId, who: string, why: string): Promise<void> {
    const { scene } = this;
    const base = { schema: '1', cluster: scene.cluster, snapshot, act: 'hold', who, why, until: null } as const;
    await scene.records.writeHold({ ...base, id: newRunId(at(10)), at: at(10).toISOString() }, never);
  }

  /** Waits until the fleet was read after now. */
  async seen(fits: (page: string) => boolean, headers: Record<string, string> = {}): Promise<string> {
    return await until('the overview shows it', async () => {
      const page = await (await fetch(this.url, { headers })).text();
      return fits(page) ? page : undefined;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
  }
}

async function writeConfig(
  scene: Scene,
  serveBlock: Record<string, unknown>,
  document: Record<string, unknown>,
  more: Record<string, Record<string, unknown>>,
): Promise<string> {
  for (const [name, text] of [
    ['signing.pem', scene.privateKey.reveal()],
    ['viewer', TOKENS.viewer],
    ['operator', TOKENS.operator],
  ] as const) {
    await writeFile(join(scene.root, name), text, { mode: 0o600 });
  }
  const file = join(scene.root, 'strongroom.yaml');
  const cluster = {
    nodes: ['http://127.0.0.1:1'],
    auth: { method: 'token', token: 'file:viewer' },
    destinations: ['a', 'b'],
    schedule: {
      timeZone: 'Europe/Berlin',
      backup: { cron: '0 */6 * * *', jitter: '5m' },
      verify: { cron: '30 2 * * *' },
    },
    retention: { keepLast: 2, keepDaily: 3 },
  };
  const { recipient } = await generateBreakGlass();
  const config = {
    version: 1,
    spool: { directory: join(scene.root, 'spool') },
    destinations: Object.fromEntries(
      ['a', 'b'].map((name) => [name, { type: 'directory', path: join(scene.root, name) }]),
    ),
    encryption: { minKmsWraps: 0, declineKms: 'there is no KMS in this trial', breakGlass: [recipient] },
    signing: { key: 'file:signing.pem' },
    clusters: {
      prod: cluster,
      staging: { ...cluster, schedule: { backup: { cron: '@daily' } } },
      ...Object.fromEntries(Object.entries(more).map(([name, block]) => [name, { ...cluster, ...block }])),
    },
    serve: { refreshEvery: '1s', ...serveBlock },
    ...document,
  };
  await writeFile(file, stringify(config, { aliasDuplicateObjects: false }));
  return file;
}
