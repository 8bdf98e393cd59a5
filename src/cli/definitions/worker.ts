import { type CommonFlags, commonAliases, commonFlags, type Definition } from '../define.ts';

export type WorkerFlags = CommonFlags;

export const worker: Definition<WorkerFlags, []> = {
  brief: 'Run the scheduled jobs of all clusters',
  description:
    'Takes jobs from the queue in Redis and runs them, as the schedules of the config say; several workers share the work. ' +
    'A change of the config file takes effect without a restart; one that is refused changes nothing, and is said. What was missed is found by ' +
    'looking at the destinations, and made up for once. SIGTERM ends it within worker.grace, with nothing half-published.',
  parameters: { flags: commonFlags, aliases: commonAliases },
};
