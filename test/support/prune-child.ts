/**
 * A prune as a process that a test kills: it stops for ever right before its n-th removal of an object, and says so with a line on
 * standard output. Argument: JSON of {configFile, removals}.
 */
import { newRunId } from '../../src/core/ids.ts';
import { prune } from '../../src/retention/prune.ts';
import type { Store } from '../../src/store/store.ts';
import { hooked } from './hooked-store.ts';
import { openApp } from './strongroom-app.ts';

const { configFile, removals } = JSON.parse(process.argv[2] ?? '{}') as { configFile: string; removals: number };
const never = new AbortController().signal;
let count = 0;

function stopping(store: Store): Store {
  return hooked(store, {
    delete: async (next) => {
      count += 1;
      if (count > removals) {
        process.stdout.write('stopped\n');
        // Whoever started this process kills it.
        await new Promise(() => setInterval(() => undefined, 1_000));
      }
      await next();
    },
  });
}

const app = await openApp({ configFile, env: process.env as Record<string, string> });
const deps = await app.pruneDeps('prod', never);
const destinations = deps.destinations.map((one) => ({ ...one, store: stopping(one.store) }));
await prune({ ...deps, destinations }, { run: newRunId(new Date()) }, never);
process.stdout.write('ended\n');
