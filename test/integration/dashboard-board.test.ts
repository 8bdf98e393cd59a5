/** bull-board itself, on the queues of a real Redis: looked at in a browser, and changed by nobody. */
import { fileURLToPath } from 'node:url';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chromiumPath, startChromium } from '../support/chromium.ts';
import { DashboardSite, TOKENS } from '../support/dashboard-site.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import { until } from '../support/until.ts';

const SHOTS = fileURLToPath(new URL('../../.cache/screenshots/', import.meta.url));
const AUTH = { auth: { token: 'file:viewer', operatorToken: 'file:operator' }, allowActions: true };
const path = chromiumPath();
if (path === null) process.stderr.write('no Chromium on this machine: bull-board is not looked at in a browser\n');

const as = (who: keyof typeof TOKENS): Record<string, string> => ({
  authorization: `Bearer ${TOKENS[who]}`,
  'x-strongroom-user': 'grace',
});

let redis: RedisServer;
let site: DashboardSite;

beforeAll(async () => {
  redis = await startRedis();
  site = await DashboardSite.open(AUTH, { queue: { url: redis.url } });
  await until('the queue is there', async () =>
    (await get('/queues', as('viewer'))).text.includes('Jobs by queue') ? true : undefined,
  );
  const body = new URLSearchParams({ job: 'backup' });
  const asked = await fetch(`${site.url}/clusters/prod/ask`, { method: 'POST', headers: as('operator'), body });
  expect(asked.status).toBe(202);
});
afterAll(async () => {
  await site?.[Symbol.asyncDispose]();
  await redis?.[Symbol.asyncDispose]();
});

type Answer = { status: number; text: string; headers: Headers };

async function get(to: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  const answer = await fetch(site.url + to, { method, headers, redirect: 'manual' });
  return { status: answer.status, text: await answer.text(), headers: answer.headers };
}

const BOARD = '/queues/board';
const QUEUES = `${BOARD}/api/queues?activeQueue=backup&status=waiting&page=1&jobsPerPage=10`;

describe('bull-board below /queues', () => {
  it('is linked, and gives the jobs to those who may look', async () => {
    expect((await get('/queues', as('viewer'))).text).toContain('href="/queues/board/"');
    const { status, text } = await get(QUEUES, as('viewer'));
    expect(status).toBe(200);
    const { queues } = JSON.parse(text) as { queues: { name: string; readOnlyMode: boolean; jobs: unknown[] }[] };
    expect(queues.map(({ name }) => name)).toEqual(['backup', 'upkeep']);
    expect(queues.map(({ readOnlyMode }) => readOnlyMode)).toEqual([true, true]);
    expect(JSON.stringify(queues)).toContain('"askedBy":"grace"');
  });

  it('gives nothing to anybody else: neither pages, nor its files, nor its data', async () => {
    for (const to of [`${BOARD}/`, BOARD, `${BOARD}/queue/backup`, QUEUES, `${BOARD}/static/favicon.ico`]) {
      const { status, text } = await get(to, { authorization: 'Bearer wrong' });
      expect(status, to).toBe(401);
      expect(text).not.toContain('backup.');
      expect(JSON.parse(text)).toMatchObject({ code: 'E_DENIED' });
    }
    const browser = await get(`${BOARD}/`, { accept: 'text/html' });
    expect([browser.status, browser.headers.get('location')]).toEqual([303, '/login']);
  });

  it('changes nothing, whoever asks and whatever it is called', async () => {
    const before = await redis.command('keys', 'strongroom:*:id');
    for (const [method, to] of [
      ['PUT', `${BOARD}/api/queues/backup/pause`],
      ['PUT', `${BOARD}/api/queues/backup/empty`],
      ['PUT', `${BOARD}/api/queues/backup/obliterate`],
      ['POST', `${BOARD}/api/queues/backup/add`],
      ['PUT', `${BOARD}/api/queues/pause`],
      ['PUT', `${BOARD}/api/queues/backup/1/clean`],
      ['PUT', `${BOARD}/api/queues/backup/job-schedulers/prod.backup/remove`],
      ['PATCH', `${BOARD}/api/queues/backup/job-schedulers/prod.backup`],
    ] as const) {
      expect([to, (await get(to, as('operator'), method)).status]).toEqual([to, 403]);
    }
    expect(await redis.command('keys', 'strongroom:*:id')).toEqual(before);
    expect((await get('/runs', as('viewer'))).text).toContain('>waits</td>');
    expect(await redis.command('hexists', 'strongroom:backup:meta', 'paused')).toBe(0);
  });

  it('has a policy of its own, and leaves that of the other pages as strict as it was', async () => {
    const board = (await get(`${BOARD}/`, as('viewer'))).headers.get('content-security-policy') ?? '';
    expect(board).toContain("script-src 'self';");
    expect(board).toContain("default-src 'none'");
    expect(board).not.toMatch(/https?:|\*|unsafe-eval|script-src[^;]*unsafe/);
    const own = (await get('/queues', as('viewer'))).headers.get('content-security-policy') ?? '';
    expect(own).toContain("style-src 'self';");
    expect(own).toContain("base-uri 'none'");
    expect((await get(`${BOARD}/`, as('viewer'))).text).not.toMatch(/href="https?:/);
  });
});

describe.skipIf(path === null)('bull-board in Chromium', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await startChromium(path ?? '');
  });
  afterAll(async () => {
    await browser?.close();
  });

  it('shows a job that waits, without an error, a question to others, or a button that changes something', async () => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
    const page = await context.newPage();
    const troubles: string[] = [];
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') troubles.push(message.text());
    });
    page.on('pageerror', (error) => troubles.push(String(error)));
    page.on('request', (request) => {
      if (new URL(request.url()).origin !== site.url) troubles.push(`asked ${request.url()}`);
    });
    await page.goto(site.url);
    await page.getByLabel('Your name').fill('grace');
    await page.getByLabel('Token', { exact: false }).fill(TOKENS.viewer);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Fleet' }).waitFor();
    await page.goto(`${site.url}/queues`);
    await page.getByRole('link', { name: 'Open bull-board' }).click();
    await page.getByText('upkeep').first().waitFor();
    await page.screenshot({ path: `${SHOTS}board-1280.png` });
    await page.goto(`${site.url}${BOARD}/queue/backup?status=waiting`);
    await page.getByText('prod.backup').first().waitFor();
    await page.screenshot({ path: `${SHOTS}board-queue-1280.png` });
    for (const name of ['Pause', 'Empty', 'Add job', 'Promote', 'Obliterate']) {
      expect(await page.getByText(name, { exact: false }).count(), name).toBe(0);
    }
    expect(troubles).toEqual([]);
    await context.close();
  });
});
