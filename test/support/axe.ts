/** What a page puts in the way of people, by axe; and whether it scrolls sideways. */
import axe from 'axe-core';
import type { Page } from 'playwright-core';

type Axe = { run(): Promise<{ violations: { id: string; nodes: { html: string; failureSummary?: string }[] }[] }> };

/** Empty = nothing. The page has to be open without its content security policy: axe puts itself into it. */
export async function barriers(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const found = await page.evaluate(async () => {
    const { violations } = await (globalThis as unknown as { axe: Axe }).axe.run();
    return violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html ?? ''} ${nodes[0]?.failureSummary ?? ''}`);
  });
  const wide = await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
  return wide === 0 ? found : [...found, `scrolls sideways by ${String(wide)} px`];
}
