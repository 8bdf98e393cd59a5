/** Real receivers for what workers and CronJobs tell: a pager, a webhook and a dead man's switch, and what they heard. */
import { type SinkServer, startSinkServer } from './sink-server.ts';
import { until } from './until.ts';

export type HookEvent = { key: string; state: string; severity: string; title: string; text: string; at: string };
export type PagerEvent = { event_action: string; dedup_key: string };

/** Disposing ends the servers. */
export class ToldSinks implements AsyncDisposable {
  readonly pager: SinkServer;
  readonly hook: SinkServer;
  readonly alive: SinkServer;

  private constructor(pager: SinkServer, hook: SinkServer, alive: SinkServer) {
    this.pager = pager;
    this.hook = hook;
    this.alive = alive;
  }

  static async start(): Promise<ToldSinks> {
    const pager = startSinkServer({ status: 202, body: '{"status":"success"}' });
    const [first, second, third] = await Promise.all([pager, startSinkServer(), startSinkServer()]);
    return new ToldSinks(first, second, third);
  }

  /** What its references resolve to. */
  get env(): Record<string, string> {
    return { TOLD_KEY: 'not-checked-by-the-receivers', TOLD_HOOK: this.hook.url, TOLD_ALIVE: this.alive.url };
  }

  /** The block `notifications` of a config. */
  get config(): Record<string, unknown> {
    return {
      burst: { events: 5, window: '50ms' },
      sinks: {
        pager: { type: 'pagerduty', routingKey: 'env:TOLD_KEY', endpoint: this.pager.url },
        hook: { type: 'webhook', url: 'env:TOLD_HOOK', secret: 'env:TOLD_KEY', severity: 'info' },
        alive: { type: 'ping', url: 'env:TOLD_ALIVE' },
      },
    };
  }

  /** Everything that the webhook was told of `key`, oldest first. */
  told(key: string, from: SinkServer = this.hook): HookEvent[] {
    return from.received.flatMap(({ body }) =>
      (JSON.parse(body) as { events: HookEvent[] }).events.filter((event) => event.key === key),
    );
  }

  states(key: string, from: SinkServer = this.hook): string[] {
    return this.told(key, from).map(({ state }) => state);
  }

  /** `trigger` and `resolve` of the incident of `key`, oldest first. */
  paged(key: string): string[] {
    return this.pager.received.flatMap(({ body }) => {
      const { event_action: action, dedup_key: dedup } = JSON.parse(body) as PagerEvent;
      return dedup === `strongroom/${key}` ? [action] : [];
    });
  }

  /** Paths that were pinged. */
  get pings(): string[] {
    return this.alive.received.map(({ path }) => path);
  }

  async untilTold(key: string, state: string, from: SinkServer = this.hook): Promise<HookEvent> {
    return await until(`${state} ${key}; told was ${this.states(key, from).join(' ')}`, async () =>
      this.told(key, from).find((event) => event.state === state),
    );
  }

  async untilPaged(key: string, last: string): Promise<void> {
    const isLast = async (): Promise<true | undefined> => (this.paged(key).at(-1) === last ? true : undefined);
    await until(`${last} of ${key} at the pager`, isLast);
  }

  /** Forgets what came until now. */
  forget(): void {
    for (const { received } of [this.pager, this.hook, this.alive]) received.length = 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.pager, this.hook, this.alive].map((server) => server[Symbol.asyncDispose]()));
  }
}
