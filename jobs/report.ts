import { clusterConfig } from '../src/config/cluster-config.ts';
import { systemClock } from '../src/core/units.ts';
import { readMonth } from '../src/report/facts.ts';
import { reportLines } from '../src/report/markdown.ts';
import { monthOf } from '../src/report/month.ts';
import { composeReport } from '../src/report/report.ts';
import { JOB_NAMES, type Job } from '../src/run/job.ts';
import { dueAfter } from '../src/schedule/schedule.ts';

export const reportJob: Job = {
  name: 'report',
  summary: 'the month on one page: the one that ended until the 3rd, then the running one',
  async run(app, cluster, _run, signal) {
    const now = systemClock.now();
    const { catalogue } = await app.snapshotDeps(cluster, signal);
    const records = await app.records(cluster, signal);
    const facts = await readMonth({ catalogue, records }, monthOf(now), now, signal);
    const { schedule } = clusterConfig(app.config, cluster);
    const next = JOB_NAMES.flatMap((job) => {
      const cron = schedule?.[job]?.cron;
      if (schedule === undefined || cron === undefined) return [];
      return [{ job, due: dueAfter({ cron, timeZone: schedule.timeZone, jitterMs: 0, key: '' }, now) }];
    });
    const report = composeReport(facts, next);
    const missing = report.lacks.map((lack) => `the report lacks what could not be read: ${lack}`);
    return { summary: reportLines(report), result: report, missing };
  },
};
