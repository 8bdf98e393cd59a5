/** A Redis that goes away behind an open page: the page says so, acts are refused, and the server still stops at once. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DashboardSite, TOKENS } from '../support/dashboard-site.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import { followEvents } from '../support/serve-config.ts';
import { until } from '../support/until.ts';

const headers = { authorization: `Bearer ${TOKENS.operator}`, 'x-strongroom-user': 'grace' };
/** A server that is told to stop has so long, in milliseconds. */
const STOP_MS = 5_000;

let redis: RedisServer;
let site: DashboardSite;
let isClosed = false;

beforeEach(async () => {
  isClosed = false;
  redis = await startRedis();
  site = await DashboardSite.open(
    { auth: { operatorToken: 'file:operator' }, allowActions: true },
    { queue: { url: redis.url } },
  );
});
afterEach(async () => {
  redis.resume();
  if (!isClosed) await site[Symbol.asyncDispose]();
  await redis[Symbol.asyncDispose]();
});

const page = async (to: string): Promise<string> => await (await fetch(site.url + to, { headers })).text();
const ask = (job: string): Promise<Response> =>
  fetch(`${site.url}/clusters/prod/ask`, { method: 'POST', headers, body: new URLSearchParams({ job }) });
const waiting = async (): Promise<unknown> => await redis.command('llen', 'strongroom:backup:wait');

/** How long the server took to stop, in milliseconds. */
async function closed(): Promise<number> {
  const began = performance.now();
  isClosed = true;
  await site[Symbol.asyncDispose]();
  return performance.now() - began;
}

describe('Redis that dies behind an open page', () => {
  it('is told of on the page, asked for nothing, and found again', async () => {
    await using live = await followEvents(site.url, headers);
    await until('the queue is read', async () =>
      (await page('/queues')).includes('Jobs by queue') ? true : undefined,
    );
    await redis.kill();
    await until('the open page is told', async () => (live.text().includes('"queue-away"') ? true : undefined));
    expect(live.text()).toContain('what runs now is not known');

    for (const to of ['/runs', '/queues']) {
      const began = performance.now();
      expect(await page(to)).toMatch(/is not known: nothing listens at|cannot be read: nothing listens at/);
      expect(performance.now() - began).toBeLessThan(5_000);
    }
    const refused = await ask('backup');
    const text = await refused.text();
    expect(refused.status).toBe(502);
    expect(text).toContain('no backup of prod was asked for');
    expect(text).not.toContain('stands in the queue');
    const browser = await fetch(`${site.url}/clusters/prod/ask`, {
      method: 'POST',
      headers: { ...headers, accept: 'text/html' },
      body: new URLSearchParams({ job: 'backup' }),
    });
    expect(await browser.text()).toMatch(/<h1>That did not work<\/h1>[^]*no backup of prod was asked for/);
    const board = await fetch(`${site.url}/queues/board/api/queues`, { headers });
    expect([board.status, ((await board.json()) as { code: string }).code]).toEqual([502, 'E_QUEUE_UNREACHABLE']);
    expect(site.log.map(({ msg }) => msg)).toContain('an act was refused or failed');

    await redis.restart();
    await until('the open page is told', async () => (live.text().includes('"queue-back"') ? true : undefined));
    expect(await waiting()).toBe(0);
    expect(await until('it takes', async () => ((await ask('backup')).status === 202 ? true : undefined))).toBe(true);
    expect(await waiting()).toBeGreaterThan(0);
  });

  it('was away when the page was opened: events come once it is there', async () => {
    await redis.stop();
    await until('the server knows', async () =>
      (await page('/queues')).includes('nothing listens') ? true : undefined,
    );
    await using live = await followEvents(site.url, headers);
    await until('the page is told at once', async () => (live.text().includes('"queue-away"') ? true : undefined));
    await redis.restart();
    await until('and told again', async () => (live.text().includes('"queue-back"') ? true : undefined));
  });

  it.each([
    ['killed', async () => await redis.kill()],
    ['stopped in its tracks', async () => redis.pause()],
  ])('%s: the server stops within five seconds, with the page open', async (_how, harm) => {
    await until('the queue is read', async () =>
      (await page('/queues')).includes('Jobs by queue') ? true : undefined,
    );
    await using live = await followEvents(site.url, headers);
    await harm();
    expect(await closed()).toBeLessThan(STOP_MS);
    await live.ended;
  });

  it('long gone: the server stops within five seconds', async () => {
    await until('the queue is read', async () =>
      (await page('/queues')).includes('Jobs by queue') ? true : undefined,
    );
    await redis.kill();
    // By now every connection is between two attempts, where it has no socket to close.
    await until('the queue is away', async () =>
      site.log.some(({ msg }) => msg === 'the queue is away') ? true : undefined,
    );
    expect(await closed()).toBeLessThan(STOP_MS);
  });

  it('silent while it is asked: nobody is told that nothing was asked for', async () => {
    await until('the queue is read', async () =>
      (await page('/queues')).includes('Jobs by queue') ? true : undefined,
    );
    redis.pause();
    const began = performance.now();
    const text = await (await ask('backup')).text();
    expect(performance.now() - began).toBeLessThan(10_000);
    expect(text).toContain('whether it has taken the backup of prod is not known');
    redis.resume();
    // It has: what was sent waited in its socket.
    await until('the run waits', async () => ((await waiting()) === 1 ? true : undefined));
  });
});
