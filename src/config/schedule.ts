/** The part of the schema about when the jobs of a cluster run. */
import { z } from 'zod';
import { cronProblem, shortestGap } from './cron.ts';
import { duration, rule, size } from './fields.ts';
import { timeZone } from './time-zone.ts';

/** Any Monday: gaps between due times are counted from there. */
const COUNT_FROM = new Date('2026-01-05T00:00:00Z');

const cron = () =>
  z.string().superRefine((text, context) => {
    const problem = cronProblem(text);
    if (problem !== null) context.addIssue({ code: 'custom', message: problem });
  });

const timing = {
  cron: cron().describe('when it is due: five cron fields, six with seconds first, or @hourly … @yearly'),
  jitter: duration()
    .exactOptional()
    .describe('starts so much later at most, another time for each cluster; shorter than the time between two runs'),
};

type Timing = { cron: string; jitter?: number | undefined };

const timed = z.strictObject(timing);

export const schedule = z
  .strictObject({
    timeZone: timeZone().prefault('UTC').describe('IANA name of the time zone of all `cron` of this block'),
    backup: timed.exactOptional().describe('takes, proves and stores a snapshot'),
    verify: z
      .strictObject({
        ...timing,
        budget: size().prefault('50GiB').describe('reads at most so much a day, from all destinations together'),
      })
      .exactOptional()
      .describe('reads stored copies again in full, the newest unproven one first, then the stalest'),
    replicate: timed.exactOptional().describe('finds copies that are missing or differ, and makes them again'),
    prune: timed.exactOptional().describe('removes what the retention policy does not keep'),
    report: timed.exactOptional().describe('the month on one page'),
  })
  .check(
    rule(['timeZone', 'backup', 'verify', 'replicate', 'prune', 'report'], ({ timeZone: zone, ...jobs }, report) => {
      for (const [name, job] of Object.entries(jobs))
        checkJitter(job, zone, (message) => report([name, 'jitter'], message));
    }),
  );

function checkJitter({ cron: text, jitter }: Timing, zone: string, report: (message: string) => void): void {
  if (jitter === undefined || jitter < shortestGap(text, zone, COUNT_FROM)) return;
  report('not shorter than the time between two runs; write less, or runs would overtake each other');
}
