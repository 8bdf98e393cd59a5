/**
 * A replication as a process that a test stops: right after the data of the first copy was stored it stops itself, and says so before
 * with a line on standard output; the last line is how it ended. Argument: JSON of {configFile, ttlMs}.
 */
import { isError } from '../../src/core/errors.ts';
import { newRunId } from '../../src/core/ids.ts';
import { silentLog } from '../../src/core/log.ts';
import { systemClock } from '../../src/core/units.ts';
import { replicate } from '../../src/snapshots/replicate.ts';
import { hooked } from './hooked-store.ts';
import { leaseTaker } from './leases.ts';
import { openApp } from './strongroom-app.ts';

const { configFile, ttlMs } = JSON.parse(process.argv[2] ?? '{}') as { configFile: string; ttlMs: number };
const never = new AbortController().signal;

await using app = await openApp({ configFile, env: process.env as Record<string, string> });
const deps = await app.snapshotDeps('prod', never);
const destinations = deps.destinations.map((one) => ({
  ...one,
  store: hooked(one.store, {
    put: async (next, key) => {
      const stored = await next();
      if (key.includes('/data/')) {
        process.stdout.write('stopping\n');
        process.kill(process.pid, 'SIGSTOP');
      }
      return stored;
    },
  }),
}));
try {
  const how = { policies: new Map(), clock: systemClock, log: silentLog, onProgress: () => undefined };
  const records = await app.records('prod', never);
  const takeLease = leaseTaker(deps.cluster, deps.stores, { ttlMs });
  await replicate(
    { ...deps, ...how, destinations, records, takeLease },
    { run: newRunId(new Date()), prove: 'checksum' },
    never,
  );
  process.stdout.write('done\n');
} catch (e) {
  process.stdout.write(`${isError(e) ? e.code : String(e)}\n`);
}
