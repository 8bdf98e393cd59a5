/** The part of the schema about retention: what is kept of a cluster, and how that differs in one destination. */
import { z } from 'zod';
import { duration, durationOrNone } from './fields.ts';
import { timeZone } from './time-zone.ts';

const MAX_COUNT = 100_000;
const count = () => z.int().nonnegative().max(MAX_COUNT);

const fields = {
  keepLast: count().describe('how many of the newest are kept'),
  keepHourly: count().describe(
    'hours of which the first backup is kept, back from the newest; hours without one do not count',
  ),
  keepDaily: count().describe('days, likewise'),
  keepWeekly: count().describe('weeks, from Monday, likewise'),
  keepMonthly: count().describe('months, likewise'),
  keepYearly: count().describe('years, likewise'),
  minVerified: z
    .int()
    .min(1)
    .max(MAX_COUNT)
    .describe('the newest so many that were read back and found right are never removed'),
  keepSafety: duration().describe('for how long what a restore overwrote is kept'),
  timeZone: timeZone().describe('IANA name of the zone in which days begin, such as Europe/Berlin'),
};
const within = 'keep all that are younger than the newest by at most this';

const override = z.strictObject({
  keepLast: fields.keepLast.exactOptional(),
  keepHourly: fields.keepHourly.exactOptional(),
  keepDaily: fields.keepDaily.exactOptional(),
  keepWeekly: fields.keepWeekly.exactOptional(),
  keepMonthly: fields.keepMonthly.exactOptional(),
  keepYearly: fields.keepYearly.exactOptional(),
  keepWithin: durationOrNone().exactOptional().describe(`${within}; none = not in this destination`),
  minVerified: fields.minVerified.exactOptional(),
  keepSafety: fields.keepSafety.exactOptional(),
  timeZone: fields.timeZone.exactOptional(),
});

/** `clusters.<name>.retention`. Where it is absent nothing is ever pruned. */
export const retention = z.strictObject({
  keepLast: fields.keepLast.prefault(0),
  keepHourly: fields.keepHourly.prefault(0),
  keepDaily: fields.keepDaily.prefault(0),
  keepWeekly: fields.keepWeekly.prefault(0),
  keepMonthly: fields.keepMonthly.prefault(0),
  keepYearly: fields.keepYearly.prefault(0),
  keepWithin: duration().exactOptional().describe(within),
  minVerified: fields.minVerified.prefault(1),
  keepSafety: fields.keepSafety.prefault('30d'),
  timeZone: fields.timeZone.prefault('UTC'),
  destinations: z
    .record(z.string(), override)
    .prefault({})
    .describe('options that differ in one destination of the cluster, by its name'),
});

export type RetentionConfig = z.output<typeof retention>;

/** The policy of one destination: the cluster's, with the options of the destination put over it. Times in milliseconds. */
export type RetentionSettings = Omit<RetentionConfig, 'keepWithin' | 'keepSafety' | 'destinations'> & {
  /** null = nothing is kept for its age */
  keepWithinMs: number | null;
  keepSafetyMs: number;
};

/** The policy for `destination`; null where no retention is configured, and then nothing may ever be pruned. */
export function retentionOf(config: RetentionConfig | undefined, destination: string): RetentionSettings | null {
  if (config === undefined) return null;
  const { destinations, ...ofCluster } = config;
  const own = Object.hasOwn(destinations, destination) ? destinations[destination] : undefined;
  const { keepWithin, keepSafety, ...rest } = { ...ofCluster, ...own };
  return { ...rest, keepWithinMs: keepWithin ?? null, keepSafetyMs: keepSafety };
}

/** The policy of each of `destinations`, by its name; empty where no retention is configured. */
export function policiesOf(
  config: RetentionConfig | undefined,
  destinations: readonly string[],
): Map<string, RetentionSettings> {
  return new Map(
    destinations.flatMap((name) => {
      const settings = retentionOf(config, name);
      return settings === null ? [] : [[name, settings] as const];
    }),
  );
}

/** True for a policy that would keep nothing by itself. */
function keepsNothing(settings: RetentionSettings): boolean {
  const { keepLast, keepHourly, keepDaily, keepWeekly, keepMonthly, keepYearly, keepWithinMs } = settings;
  const counts = [keepLast, keepHourly, keepDaily, keepWeekly, keepMonthly, keepYearly];
  return keepWithinMs === null && counts.every((n) => n === 0);
}

/**
 * Reports every destination whose policy would remove everything, for the schema's rule; `report` takes the path below
 * `retention`.
 */
export function checkKeepsSomething(
  config: RetentionConfig,
  destinations: readonly string[],
  report: (path: readonly string[], message: string) => void,
): void {
  const empty = destinations.filter((name) => {
    const settings = retentionOf(config, name);
    return settings !== null && keepsNothing(settings);
  });
  for (const name of empty.filter((destination) => Object.hasOwn(config.destinations, destination))) {
    report(['destinations', name], 'keeps nothing here; write keepLast, keepDaily or another');
  }
  if (empty.some((destination) => !Object.hasOwn(config.destinations, destination))) {
    report([], 'keeps nothing; write keepLast, keepDaily or another, or delete the block to keep everything');
  }
}
