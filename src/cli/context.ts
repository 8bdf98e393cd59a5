/** What a command may touch. */
import type { CommandContext } from '@stricli/core';
import type { Config } from '../config/load.ts';
import { systemClock } from '../core/units.ts';
import type { Host, Mode } from './host.ts';
import { createOutput, type Output } from './output.ts';
import { createProgress, type Progress } from './progress.ts';

export type Context = CommandContext &
  Host & {
    readonly output: Output;
    /** Draws a run's progress on standard error; dispose it before the result is written. */
    progress(): Progress;
    /** Finds, reads and checks the config; `flag` is that of --config. Rejects with E_CONFIG_INVALID. */
    config(flag: string | undefined): Promise<Config>;
  };

/** `host` stays the owner of its streams. */
export function createContext(host: Host, mode: Mode): Context {
  const output = createOutput(host, mode);
  return {
    ...host,
    process: { stdout: host.stdout, stderr: host.stderr },
    output,
    progress: () => createProgress(host, mode, systemClock),
    async config(flag) {
      // Loaded when it is needed: zod and yaml take longer to load than --help may take.
      const [{ findConfig }, { loadConfig }] = await Promise.all([
        import('../config/find.ts'),
        import('../config/load.ts'),
      ]);
      const file = await findConfig(flag, { env: host.env, cwd: host.cwd });
      const config = await loadConfig(file, { env: host.env, warn: (message) => output.warn(message) });
      return mode.pretty ? { ...config, log: { ...config.log, format: 'pretty' } } : config;
    },
  };
}
