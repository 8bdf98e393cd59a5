/** A prober that runs while something happens to what it probes. */
import { loadConfig } from '../../src/config/load.ts';
import { silentLog } from '../../src/core/log.ts';
import { systemClock } from '../../src/core/units.ts';
import type { Sample } from '../../src/observe/exposition.ts';
import { Prober, type ProberOptions } from '../../src/probe/prober.ts';
import { until } from './until.ts';
import { worldEnv } from './world.ts';

/** For the references of a config whose destinations are directories. */
export const PROBE_ENV: Record<string, string> = worldEnv({ accessKeyId: '', secretAccessKey: '' });

/** What a prober says, by name without the prefix, and labels. */
export type Said = (name: string, labels?: Record<string, string>) => number | undefined;
export const saidBy =
  (samples: readonly Sample[]): Said =>
  (name, labels = {}) =>
    samples.find(
      (one) =>
        one.name === `strongroom_${name}` && Object.entries(labels).every(([key, value]) => one.labels[key] === value),
    )?.value;

/** A prober that runs while `test` does. It ends with everything closed. */
export async function probing(
  file: string,
  test: (until: (what: string, fits: (said: Said) => boolean) => Promise<Said>, prober: Prober) => Promise<void>,
  change: Partial<ProberOptions> = {},
): Promise<void> {
  const config = await loadConfig(file, { env: PROBE_ENV });
  const prober = new Prober({
    config,
    clock: systemClock,
    log: silentLog,
    confirmMs: 200,
    loginEveryMs: 1_000,
    ...change,
  });
  const over = new AbortController();
  const running = prober.run(over.signal);
  try {
    await test(
      (what, fits) =>
        until(what, async () => {
          const said = saidBy(prober.samples(new Date()));
          return fits(said) ? said : undefined;
        }),
      prober,
    );
  } finally {
    over.abort();
    prober.close();
    await running;
  }
}
