import { type CommonFlags, clusterFlag, commonAliases, commonFlags, type Definition, text } from '../define.ts';

export type JobRunFlags = CommonFlags & { cluster?: string };

export const jobRun: Definition<JobRunFlags, [name: string]> = {
  brief: 'Run a job once, as a CronJob does',
  description: 'Runs a job once and ends, without a queue: what a Kubernetes CronJob or a timer starts.',
  parameters: {
    flags: { ...commonFlags, cluster: clusterFlag },
    aliases: commonAliases,
    positional: { kind: 'tuple', parameters: [{ parse: text, placeholder: 'name', brief: 'Name of the job' }] },
  },
};
