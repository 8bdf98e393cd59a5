/** The pages in a real Chromium: as people see them, with a keyboard, on a phone, in the dark, without JavaScript. */
import { fileURLToPath } from 'node:url';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { barriers } from '../support/axe.ts';
import { chromiumPath, startChromium } from '../support/chromium.ts';
import { DashboardSite, TOKENS } from '../support/dashboard-site.ts';

const SHOTS = fileURLToPath(new URL('../../.cache/screenshots/', import.meta.url));
const path = chromiumPath();
if (path === null) process.stderr.write('no Chromium on this machine: the dashboard is not tested in a browser\n');

const SIZES = [360, 1280] as const;
const SCHEMES = ['light', 'dark'] as const;

type Watched = { page: Page; troubles: string[] };

describe.skipIf(path === null)('the dashboard in Chromium', () => {
  let browser: Browser;
  let site: DashboardSite;
  let newest = '';
  let old = '';

  beforeAll(async () => {
    browser = await startChromium(path ?? '');
    site = await DashboardSite.open({
      auth: { token: 'file:viewer', operatorToken: 'file:operator' },
      allowActions: true,
    });
    ({ newest, old } = await site.fill());
    await site.seen((page) => page.includes('did not keep the promise'), { authorization: `Bearer ${TOKENS.viewer}` });
  });
  afterAll(async () => {
    await browser?.close();
    await site?.[Symbol.asyncDispose]();
  });

  /** A page that tells of errors in its console and of requests to others. */
  async function open(options: BrowserContextOptions = {}): Promise<Watched> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    const page = await context.newPage();
    const troubles: string[] = [];
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') troubles.push(message.text());
    });
    page.on('pageerror', (error) => troubles.push(String(error)));
    page.on('request', (request) => {
      if (new URL(request.url()).origin !== site.url) troubles.push(`asked ${request.url()}`);
    });
    return { page, troubles };
  }

  async function signIn(page: Page, token: string = TOKENS.operator): Promise<void> {
    await page.goto(site.url);
    await page.getByLabel('Your name').fill('grace');
    await page.getByLabel('Token', { exact: false }).fill(token);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Fleet' }).waitFor();
  }

  describe.each(SCHEMES)('%s', (colorScheme) => {
    it.each(SIZES)('has no barrier, no error and no sideways scrolling at %i px', async (width) => {
      // axe puts itself into the page; without its policy only for that, and the policy has a test of its own.
      const { page, troubles } = await open({ colorScheme, viewport: { width, height: 800 }, bypassCSP: true });
      const shot = async (name: string): Promise<void> => {
        await page.screenshot({ path: `${SHOTS}${name}-${colorScheme}-${width}.png`, fullPage: true });
        expect(await barriers(page), name).toEqual([]);
      };
      await page.goto(site.url);
      await shot('sign-in');
      await signIn(page);
      await shot('fleet');
      for (const [name, to] of [
        ['cluster', '/clusters/prod'],
        ['cluster-empty', '/clusters/staging'],
        ['snapshot', `/clusters/prod/snapshots/${old}`],
        ['retention', '/clusters/prod/retention'],
        ['runs', '/runs'],
        ['queues', '/queues'],
      ] as const) {
        await page.goto(new URL(to, site.url).href);
        if (name === 'snapshot') for (const one of await page.locator('summary').all()) await one.click();
        await shot(name);
      }
      expect(troubles).toEqual([]);
      // The browser itself tells of a page that is not there.
      await page.goto(new URL('/nothing', site.url).href);
      await shot('not-there');
      await page.context().close();
    });
  });

  it('runs no script that was planted, and shows it as text', async () => {
    const { page, troubles } = await open();
    await signIn(page);
    for (const to of ['/', '/runs', '/clusters/prod', `/clusters/prod/snapshots/${old}`, '/clusters/prod/retention']) {
      await page.goto(new URL(to, site.url).href);
      expect(await page.title()).not.toBe('owned');
      expect(await page.locator('img').count()).toBe(0);
    }
    await expect(page.getByText('<script>').first().textContent()).resolves.toContain("document.title='owned'");
    expect(troubles).toEqual([]);
    // Were one to get into a page all the same, the policy stops it.
    // A page that failed to escape it, with the headers that all pages have.
    await page.route(site.url + '/', async (route) => {
      const response = await route.fetch();
      const body = (await response.text()).replace(
        '<h1>',
        `<script>document.title='owned'</script><h1 onclick="document.title='owned'">`,
      );
      await route.fulfill({ response, body });
    });
    await page.goto(site.url);
    await page.locator('h1').click();
    expect(await page.title()).not.toBe('owned');
    expect(troubles.filter((trouble) => trouble.includes('Content Security Policy'))).toHaveLength(2);
    await page.context().close();
  });

  it('is walked by keyboard: skip link first, then every link, and what has the focus is seen', async () => {
    const { page } = await open();
    await signIn(page);
    await page.goto(site.url);
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Skip to content');
    await page.keyboard.press('Enter');
    expect(await page.evaluate('document.activeElement.id')).toBe('main');
    const names: string[] = [];
    for (let i = 0; i < 12; i += 1) {
      await page.keyboard.press('Tab');
      const state = (await page.evaluate(
        '({ text: document.activeElement.textContent.trim().slice(0, 30), tag: document.activeElement.tagName, line: getComputedStyle(document.activeElement).outlineStyle })',
      )) as { text: string; tag: string; line: string };
      if (state.tag === 'BODY') break;
      expect(state.line, state.text).not.toBe('none');
      names.push(state.text);
    }
    expect(names).toEqual(expect.arrayContaining(['prod', 'staging']));
    await page.getByRole('link', { name: 'prod' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: 'prod' }).waitFor();
    await page.context().close();
  });

  it('works without JavaScript: signing in, looking, holding, signing out', async () => {
    const { page } = await open({ javaScriptEnabled: false });
    await signIn(page);
    await page.getByRole('link', { name: 'prod' }).click();
    await page.getByRole('link', { name: newest }).click();
    await page.getByLabel('Why it must be kept').fill('the audit <b>');
    await page.getByRole('button', { name: 'Hold' }).click();
    await page.getByRole('heading', { name: 'Held' }).waitFor();
    await page.getByRole('link', { name: newest }).click();
    await page.getByRole('cell', { name: 'the audit <b>' }).waitFor();
    await page.getByRole('cell', { name: 'grace' }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await page.goto(new URL('/clusters/prod', site.url).href);
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await page.context().close();
  });
});
