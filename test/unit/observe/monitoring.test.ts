/** The rules and the dashboard speak of metrics that there are, and of pages that there are. promtool is asked in test/integration. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { METRICS, type MetricName } from '../../../src/observe/metrics.ts';
import { ROOT, readDashboard, readRules, readRuleTests } from '../../support/monitoring.ts';

const rules = await readRules();
const dashboard = await readDashboard();

/** Names of metrics in a query. */
function namesIn(expr: string): string[] {
  return [...expr.matchAll(/\bstrongroom_[a-z0-9_]+/g)].map(([name]) => name);
}

/** Every label that a query names in braces or by (…) and on (…). */
function labelsIn(expr: string): string[] {
  const grouped = [...expr.matchAll(/\b(?:by|on|without)\s*\(([^)]*)\)/g)].flatMap(([, names = '']) =>
    names.split(','),
  );
  const matched = [...expr.matchAll(/\{([^}]*)\}/g)].flatMap(([, matchers = '']) =>
    [...matchers.matchAll(/([a-z_]+)\s*(?:=~|!~|!=|=)/g)].map(([, name = '']) => name),
  );
  return [...grouped, ...matched].map((name) => name.trim()).filter((name) => name !== '');
}

describe('every query', () => {
  const queries = [
    ...rules.map(({ alert, expr }) => [alert, expr] as const),
    ...dashboard.flatMap(({ title, exprs }) => exprs.map((expr) => [title, expr] as const)),
  ];

  it.each(queries)('%s asks for metrics that there are, by labels that they have', (_title, expr) => {
    const names = namesIn(expr);
    expect(names.length).toBeGreaterThan(0);
    expect(names.filter((name) => !Object.hasOwn(METRICS, name))).toEqual([]);
    const labels = new Set(['instance', ...names.flatMap((name) => METRICS[name as MetricName].labels)]);
    expect(labelsIn(expr).filter((label) => !labels.has(label))).toEqual([]);
  });

  it('knows a name that is wrong', () => {
    expect(
      namesIn('min by (cluster) (strongroom_recovery_age) > 0').filter((name) => !Object.hasOwn(METRICS, name)),
    ).toEqual(['strongroom_recovery_age']);
    expect(labelsIn('max by (cluster, job) (x{level=~"a|b"})')).toEqual(['cluster', 'job', 'level']);
  });
});

describe('every alert', () => {
  it.each(rules.map((rule) => [rule.alert, rule] as const))(
    '%s says how bad it is, what is wrong, and where to read on',
    async (alert, rule) => {
      expect(alert).toMatch(/^Strongroom[A-Z]/);
      expect(['warning', 'critical']).toContain(rule.severity);
      expect(rule.summary).toMatch(/^[A-Z{].*[^.]$/);
      expect(rule.runbook).toMatch(/^docs\/operations\/[a-z-]+\.md$/);
      expect(existsSync(join(ROOT, rule.runbook))).toBe(true);
      expect(await readFile(join(ROOT, rule.runbook), 'utf8')).toContain(`\`${alert}\``);
    },
  );

  it('has a case in which it fires and one in which it does not', async () => {
    const cases = await readRuleTests();
    for (const { alert } of rules) {
      const own = cases.filter(({ alertname }) => alertname === alert);
      expect({ alert, fires: own.some(({ fires }) => fires), silent: own.some(({ fires }) => !fires) }).toEqual({
        alert,
        fires: true,
        silent: true,
      });
    }
    const known = rules.map(({ alert }) => alert);
    expect(cases.filter(({ alertname }) => !known.includes(alertname))).toEqual([]);
  });
});

it('panels of the dashboard have numbers of their own and lie beside each other', () => {
  expect(new Set(dashboard.map(({ id }) => id)).size).toBe(dashboard.length);
  const cells = dashboard.flatMap(({ at }) =>
    Array.from({ length: at.w * at.h }, (_, i) => `${at.x + (i % at.w)} ${at.y + Math.floor(i / at.w)}`),
  );
  expect(new Set(cells).size).toBe(cells.length);
  expect(Math.max(...dashboard.map(({ at }) => at.x + at.w))).toBeLessThanOrEqual(24);
});
