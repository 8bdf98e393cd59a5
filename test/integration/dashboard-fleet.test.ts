/** A fleet in states that it really has, in a real Chromium. */
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
    // Each cluster is read by itself, and some were read before they were filled.
    const settled = { critical: 2, warning: 2, ok: 1 };
    await site.seen((page) =>
      Object.entries(settled).every(
        ([level, count]) => page.split(`data-label="State"><span class="badge ${level}">`).length === count + 1,
      ),
    );
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
});
