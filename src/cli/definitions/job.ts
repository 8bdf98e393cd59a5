import { parseDuration } from '../../core/units.ts';
import { type CommonFlags, clusterFlag, commonAliases, commonFlags, type Definition, text } from '../define.ts';

export type JobRunFlags = CommonFlags & { cluster?: string; lockWait: number };

export const jobRun: Definition<JobRunFlags, [name: string]> = {
  brief: 'Run a job once, as a CronJob does',
  description: 'Runs a job once and ends, without a queue: what a Kubernetes CronJob or a timer starts.',
  parameters: {
    flags: {
      ...commonFlags,
      cluster: clusterFlag,
      lockWait: {
        kind: 'parsed',
        parse: parseDuration,
        default: '10m',
        placeholder: 'time',
        brief: 'Longest wait for another run on the cluster; what that one makes is good enough',
      },
    },
    aliases: commonAliases,
    positional: { kind: 'tuple', parameters: [{ parse: text, placeholder: 'name', brief: 'Name of the job' }] },
  },
};
