/** The alert rules by Prometheus' own tool: they are valid, their tests pass, and the tests notice when a rule is broken. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { ensureTool } from '../../scripts/tools.ts';
import { MONITORING, readDashboard, readRules, readRulesFile } from '../support/monitoring.ts';

const rules = await readRules();
let promtool: string;
let folder: string;

beforeAll(async () => {
  promtool = await ensureTool('promtool');
  folder = await mkdtemp(join(tmpdir(), 'strongroom-alerts-'));
  await cp(join(MONITORING, 'alerts.test.yaml'), join(folder, 'alerts.test.yaml'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function run(...args: string[]): Promise<{ code: number | undefined; text: string }> {
  const { exitCode, all } = await execa(promtool, args, { all: true, reject: false });
  return { code: exitCode, text: all };
}

it('the rules are valid, and their tests pass', async () => {
  expect(await run('check', 'rules', '--lint-fatal', join(MONITORING, 'alerts.yaml'))).toMatchObject({ code: 0 });
  expect(await run('test', 'rules', join(MONITORING, 'alerts.test.yaml'))).toMatchObject({ code: 0 });
});

describe('the tests notice', () => {
  /** Runs the tests of all alerts on rules of which `alert` has another expression; gives what failed. */
  async function testsWith(
    alert: string,
    expr: string,
    held?: string,
  ): Promise<{ code: number | undefined; text: string }> {
    const file = await readRulesFile();
    for (const rule of file.groups.flatMap((group) => group.rules)) {
      if (rule.alert !== alert) continue;
      rule.expr = expr;
      if (held !== undefined) rule.for = held;
    }
    await writeFile(join(folder, 'alerts.yaml'), stringify(file));
    // Only the tests of this alert: all of them for each of the others would take minutes.
    return await run('test', 'rules', '--run', (await groupsOf(alert)).join('|'), join(folder, 'alerts.test.yaml'));
  }

  it.each(rules.map(({ alert }) => alert))('when %s never fires, and when it always does', async (alert) => {
    expect(await testsWith(alert, 'vector(1) > 2')).toMatchObject({
      code: 1,
      text: expect.stringContaining(alert) as string,
    });
    expect(await testsWith(alert, 'vector(1)', '0s')).toMatchObject({
      code: 1,
      text: expect.stringContaining(alert) as string,
    });
  });

  /** Names of the tests that ask for `alert`. */
  async function groupsOf(alert: string): Promise<string[]> {
    const text = await readFile(join(MONITORING, 'alerts.test.yaml'), 'utf8');
    const blocks = text.split(/^ {2}- name: /m).slice(1);
    return blocks.filter((block) => block.includes(`alertname: ${alert}`)).map((block) => block.split('\n')[0] ?? '');
  }
});

it('Prometheus can read every query of the dashboard', async () => {
  const panels = await readDashboard();
  const queries = panels.flatMap(({ exprs }) => exprs).map((expr) => expr.replaceAll('$__rate_interval', '5m'));
  const file = (exprs: readonly string[]) => ({
    groups: [{ name: 'dashboard', rules: exprs.map((expr, i) => ({ record: `dashboard:query_${i}`, expr })) }],
  });
  const path = join(folder, 'dashboard.yaml');
  await writeFile(path, stringify(file(queries)));
  expect(await run('check', 'rules', path)).toMatchObject({ code: 0 });
  await writeFile(path, stringify(file([...queries, 'sum by (cluster (x)'])));
  expect(await run('check', 'rules', path)).toMatchObject({ code: 1 });
});
