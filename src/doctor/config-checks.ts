/** What the config promises, and whether this machine can keep it: secrets, times, places. */
import { advise } from '../config/advice.ts';
import type { ClusterConfig } from '../config/cluster-config.ts';
import { type Config, references } from '../config/load.ts';
import { formatDuration } from '../core/units.ts';

import { JOB_NAMES } from '../run/job.ts';
import { nextStart } from '../schedule/schedule.ts';
import { type Outcome, ok, problem, warning } from './finding.ts';
import { type Check, failed } from './run-checks.ts';

export function configChecks(config: Config, clusters: readonly ClusterConfig[], now: Date): Check[] {
  return [
    { area: 'config', what: 'config', run: () => Promise.resolve(adviceOf(config, clusters)) },
    { area: 'config', what: 'secrets', run: (signal) => secretsOf(config, clusters, signal) },
    { area: 'config', what: 'time zones', run: () => Promise.resolve([timeZoneData()]) },
    ...clusters.map(
      (cluster): Check => ({
        area: 'config',
        what: `schedule of ${cluster.name}`,
        run: () => Promise.resolve(scheduleOf(cluster, now)),
      }),
    ),
    ...clusters.map(
      (cluster): Check => ({
        area: 'config',
        what: `destinations of ${cluster.name}`,
        run: () => Promise.resolve(placesOf(cluster)),
      }),
    ),
  ];
}

function adviceOf(config: Config, clusters: readonly ClusterConfig[]): Outcome[] {
  const others = Object.keys(config.clusters).filter((name) => clusters.every((chosen) => chosen.name !== name));
  const advice = advise(config).filter((line) => !others.some((name) => line.startsWith(`clusters.${name}`)));
  if (advice.length === 0) return [ok('config', `${config.file} is good, and there is nothing to advise`)];
  return advice.map((line) => {
    const [at = 'config', ...rest] = line.split(': ');
    return warning(at, rest.join(': '), `change ${at} in the config, then: strongroom config check`);
  });
}

/** Every secret and file that the config names, as far as the chosen clusters need it. */
async function secretsOf(config: Config, clusters: readonly ClusterConfig[], signal: AbortSignal): Promise<Outcome[]> {
  const names = new Set<string>(clusters.map(({ name }) => name));
  const places = new Set(clusters.flatMap(({ destinations }) => destinations.map(({ name }) => name)));
  const needed = references(config).filter(({ path: [block, name] }) => {
    if (block === 'clusters') return names.has(String(name));
    return block === 'destinations' ? places.has(String(name)) : true;
  });
  const outcomes: Outcome[] = [];
  for (const { path, reference } of needed) {
    try {
      await reference.resolve(signal);
    } catch (e) {
      signal.throwIfAborted();
      outcomes.push(failed(path.join('.'), e));
    }
  }
  return outcomes.length > 0 ? outcomes : [ok('secrets', `all ${needed.length} references can be read`)];
}

/** Without the data of the zones every schedule would be an hour off for half of the year, and nothing would say so. */
export function timeZoneData(format: (zone: string, at: Date) => string = clockIn): Outcome {
  const seen = [
    format('Europe/Berlin', new Date('2026-01-15T12:00:00Z')),
    format('Europe/Berlin', new Date('2026-07-15T12:00:00Z')),
    format('America/New_York', new Date('2026-03-08T06:59:00Z')),
    format('America/New_York', new Date('2026-03-08T07:00:00Z')),
  ];
  if (seen.join(' ') === '13:00 14:00 01:59 03:00') {
    return ok(
      'time zones',
      `this machine knows them, and when their clocks change (data ${process.versions['tz'] ?? 'unknown'})`,
    );
  }
  return problem(
    'time zones',
    `this machine does not know when clocks change: noon UTC is ${seen[0]} in Berlin in winter and ${seen[1]} in summer`,
    'run a Node with full ICU data, as the image has it, or write timeZone: UTC',
  );
}

function clockIn(zone: string, at: Date): string {
  return new Intl.DateTimeFormat('en-GB', { timeZone: zone, hour: '2-digit', minute: '2-digit' }).format(at);
}

function scheduleOf({ name, schedule }: ClusterConfig, now: Date): Outcome[] {
  const what = `schedule of ${name}`;
  if (schedule === undefined) {
    return [ok(what, 'none: whoever starts strongroom job run backup decides when')];
  }
  const due = JOB_NAMES.flatMap((job) => {
    const timing = schedule[job];
    if (timing === undefined) return [];
    const { cron, jitter: jitterMs = 0 } = timing;
    const { start } = nextStart({ cron, timeZone: schedule.timeZone, jitterMs, key: `${name} ${job}` }, now);
    return [`${job} ${start.toISOString()} (in ${formatDuration(start.getTime() - now.getTime())})`];
  });
  if (schedule.backup === undefined) {
    return [warning(what, 'it has no backup: nothing makes one by itself', `add clusters.${name}.schedule.backup`)];
  }
  return [ok(what, `next ${due.join(', ')}`)];
}

/** Two copies in one place are one copy. */
export function placesOf({ name, destinations }: Pick<ClusterConfig, 'name' | 'destinations'>): Outcome[] {
  const what = `destinations of ${name}`;
  const fix = 'give each destination a bucket of its own, best in another region and account';
  const outcomes: Outcome[] = [];
  for (const [index, one] of destinations.entries()) {
    for (const other of destinations.slice(index + 1)) {
      const names = `${one.name} and ${other.name}`;
      const [a, b] = [one.options, other.options];
      if (a.type === 'directory' && b.type === 'directory' && a.path === b.path) {
        outcomes.push(problem(what, `${names} are one folder: two copies are promised, and there is one`, fix));
      }
      if (a.type !== 's3' || b.type !== 's3' || a.bucket !== b.bucket || a.endpoint !== b.endpoint) continue;
      if (a.prefix === b.prefix) {
        outcomes.push(problem(what, `${names} are one place: two copies are promised, and there is one`, fix));
      } else {
        outcomes.push(warning(what, `${names} are in one bucket: what takes it takes both copies`, fix));
      }
    }
  }
  return outcomes.length > 0 ? outcomes : [ok(what, `${destinations.length}, each a place of its own`)];
}
