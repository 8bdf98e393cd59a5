/** A fleet in states that it really has, and one of more clusters than anybody reads, in a real Chromium. */
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { barriers } from '../support/axe.ts';
import { chromiumPath, startChromium } from '../support/chromium.ts';
import { DashboardSite } from '../support/dashboard-site.ts';
import { at, type Scene } from '../unit/observe/scene.ts';

const SHOTS = fileURLToPath(new URL('../../.cache/screenshots/', import.meta.url));
const path = chromiumPath();
if (path === null) process.stderr.write('no Chromium on this machine: the fleet is not looked at in a browser\n');

const LONG = `a-cluster-with-a-name-as-long-as-names-may-be-${'x'.repeat(17)}`;
const PHONE = { width: 390, height: 844 };
const MANY = 115;

async function backedUp(scene: Scene, provenAt: number): Promise<void> {
  const snapshot = await scene.backup(at(6));
  await scene.run(at(6), { snapshot });
  for (const destination of ['a', 'b']) await scene.proof(at(provenAt), snapshot, destination);
}

const clusters = async (page: Page): Promise<string[]> => await page.locator('tbody th').allTextContents();

describe.skipIf(path === null)('a fleet in Chromium', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await startChromium(path ?? '');
  });
  afterAll(async () => {
    await browser?.close();
  });

  it('has red before amber before green, as each of them really is, on a phone too', async () => {
    const limits = { maxAge: '8h', maxProofAge: '3h' };
    await using site = await DashboardSite.open({}, {}, { green: { limits }, amber: { limits }, [LONG]: { limits } });
    await site.fill();
    await backedUp(site.scene.beside('green'), 11);
    await backedUp(site.scene.beside('amber'), 7);
    await backedUp(site.scene.beside(LONG), 7);
    await site.seen((page) => page.includes('All promises are kept') && page.includes('did not keep the promise'));
    for (const [name, options] of [
      ['wide', { viewport: { width: 1280, height: 800 } }],
      ['phone', { viewport: PHONE }],
      ['phone-dark', { viewport: PHONE, colorScheme: 'dark' }],
    ] as const) {
      const context = await browser.newContext({ ...options, bypassCSP: true });
      const page = await context.newPage();
      await page.goto(site.url);
      expect(await clusters(page)).toEqual(['staging', 'prod', LONG, 'amber', 'green']);
      const states = await page.locator('tbody td:first-of-type .badge').allTextContents();
      expect(states).toEqual(['critical', 'critical', 'warning', 'warning', 'good']);
      await page.screenshot({ path: `${SHOTS}fleet-states-${name}.png`, fullPage: true });
      expect(await barriers(page), name).toEqual([]);
      await page.goto(new URL(`/clusters/${LONG}`, site.url).href);
      await page.screenshot({ path: `${SHOTS}cluster-long-name-${name}.png`, fullPage: true });
      expect(await barriers(page), name).toEqual([]);
      await context.close();
    }
  });

  it('of many is read a page at a time, by state or by name, without JavaScript', async () => {
    const more = Object.fromEntries(Array.from({ length: MANY }, (_, i) => [`cluster-${i}`, {}]));
    await using site = await DashboardSite.open({ refreshEvery: '10m' }, {}, more);
    const context = await browser.newContext({ javaScriptEnabled: false, viewport: PHONE });
    const page = await context.newPage();
    await page.goto(site.url);
    await page.getByText(`Clusters 1 to 100 of ${MANY + 2}`).waitFor();
    expect(await clusters(page)).toHaveLength(100);
    await page.screenshot({ path: `${SHOTS}fleet-many-phone.png` });
    await page.getByRole('link', { name: 'Better' }).click();
    await page.getByText(`Clusters 101 to ${MANY + 2} of ${MANY + 2}`).waitFor();
    expect(await clusters(page)).toHaveLength(MANY + 2 - 100);
    await page.getByRole('link', { name: 'Only ok, 0' }).click();
    await page.getByText('No cluster is like that.').waitFor();
    await page.getByRole('link', { name: 'Show all' }).first().click();
    await page.getByLabel('Name').fill('cluster-11');
    await page.getByRole('button', { name: 'Find' }).click();
    expect((await clusters(page)).toSorted()).toEqual(['cluster-11', ...[0, 1, 2, 3, 4].map((n) => `cluster-11${n}`)]);
    await page.getByLabel('Name').fill('nobody');
    await page.getByRole('button', { name: 'Find' }).click();
    await page.getByText('No cluster is like that.').waitFor();
    await page.screenshot({ path: `${SHOTS}fleet-none-phone.png` });
    await context.close();
    const tested = await browser.newContext({ bypassCSP: true, viewport: { width: 1280, height: 800 } });
    const wide = await tested.newPage();
    await wide.goto(`${site.url}/?state=critical`);
    await wide.screenshot({ path: `${SHOTS}fleet-many-wide.png` });
    expect(await barriers(wide)).toEqual([]);
    await tested.close();
  });
});
