/** The rules, their tests and the dashboard of monitoring/, as data. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';

export const ROOT = join(import.meta.dirname, '../..');
export const MONITORING = join(ROOT, 'monitoring');

const rulesSchema = z.strictObject({
  groups: z.array(
    z.strictObject({
      name: z.string(),
      rules: z.array(
        z.strictObject({
          alert: z.string(),
          expr: z.string(),
          for: z.string().optional(),
          labels: z.strictObject({ severity: z.string() }),
          annotations: z.strictObject({ summary: z.string(), runbook_url: z.string() }),
        }),
      ),
    }),
  ),
});
export type RulesFile = z.infer<typeof rulesSchema>;

export type Rule = { alert: string; expr: string; severity: string; summary: string; runbook: string };

export async function readRulesFile(): Promise<RulesFile> {
  return rulesSchema.parse(parse(await readFile(join(MONITORING, 'alerts.yaml'), 'utf8')));
}

export async function readRules(): Promise<Rule[]> {
  const { groups } = await readRulesFile();
  return groups.flatMap(({ rules }) =>
    rules.map(({ alert, expr, labels, annotations }) => ({
      alert,
      expr,
      severity: labels.severity,
      summary: annotations.summary,
      runbook: annotations.runbook_url,
    })),
  );
}

const testsSchema = z.object({
  tests: z.array(
    z.object({
      alert_rule_test: z.array(z.object({ alertname: z.string(), exp_alerts: z.array(z.unknown()) })),
    }),
  ),
});

/** Every case of alerts.test.yaml: which alert, and is it to fire? */
export async function readRuleTests(): Promise<{ alertname: string; fires: boolean }[]> {
  const { tests } = testsSchema.parse(parse(await readFile(join(MONITORING, 'alerts.test.yaml'), 'utf8')));
  return tests.flatMap((test) =>
    test.alert_rule_test.map(({ alertname, exp_alerts }) => ({ alertname, fires: exp_alerts.length > 0 })),
  );
}

const dashboardSchema = z.object({
  uid: z.string(),
  panels: z.array(
    z.object({
      id: z.number(),
      title: z.string(),
      gridPos: z.object({ x: z.number(), y: z.number(), w: z.number(), h: z.number() }),
      targets: z.array(z.object({ refId: z.string(), expr: z.string() })).min(1),
    }),
  ),
});

export type Panel = { id: number; title: string; at: { x: number; y: number; w: number; h: number }; exprs: string[] };

export async function readDashboard(): Promise<Panel[]> {
  const json: unknown = JSON.parse(await readFile(join(MONITORING, 'grafana-dashboard.json'), 'utf8'));
  return dashboardSchema.parse(json).panels.map(({ id, title, gridPos, targets }) => ({
    id,
    title,
    at: gridPos,
    exprs: targets.map(({ expr }) => expr),
  }));
}
