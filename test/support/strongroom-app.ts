/** strongroom inside the test's own process: the same code as behind the CLI, without the start of one. */
import { App } from '../../src/app.ts';
import { type BackupResult, backup } from '../../src/backup/backup.ts';
import { loadConfig } from '../../src/config/load.ts';
import { silentLog } from '../../src/core/log.ts';
import type { OnProgress } from '../../src/core/progress.ts';
import { Secret } from '../../src/core/secret.ts';
import type { RestoreDeps } from '../../src/restore/options.ts';
import type { RestorePlan } from '../../src/restore/plan.ts';
import { restore } from '../../src/restore/restore.ts';
import type { RestoreResult } from '../../src/restore/result.ts';

export type AppOptions = {
  configFile: string;
  env: Record<string, string>;
  cluster?: string;
  signal?: AbortSignal;
  onProgress?: OnProgress;
};

const never: AbortSignal = new AbortController().signal;

export async function openApp({ configFile, env, onProgress }: AppOptions): Promise<App> {
  const config = await loadConfig(configFile, { env });
  return new App(config, { log: silentLog, ...(onProgress === undefined ? {} : { onProgress }) });
}

/** One backup; rejects as {@link backup} does. */
export async function backUp(options: AppOptions, change: { newLineage?: boolean } = {}): Promise<BackupResult> {
  const signal = options.signal ?? never;
  await using app = await openApp(options);
  const deps = await app.backupDeps(options.cluster ?? 'prod', signal);
  return await backup(deps, { purpose: 'backup', newLineage: change.newLineage ?? false }, signal);
}

/** One restore, confirmed unless `confirm` rejects. */
export async function bringBack(
  options: AppOptions,
  change: {
    snapshot?: string;
    targetToken?: string;
    shares?: readonly string[];
    force?: boolean;
    into?: string;
    /** default: none, as most trials are about something else */
    withSafety?: boolean;
    restartWaitMs?: number;
    /** default 60 s */
    settleTimeoutMs?: number;
    askRestart?: RestoreDeps['askRestart'];
    resume?: boolean;
    confirm?: (plan: RestorePlan | null) => Promise<void>;
  } = {},
): Promise<RestoreResult> {
  const signal = options.signal ?? never;
  await using app = await openApp(options);
  const shares = change.shares ?? [];
  const deps = await app.restoreDeps(
    options.cluster ?? 'prod',
    {
      ...(change.into === undefined ? {} : { into: change.into }),
      targetToken: change.targetToken === undefined ? null : new Secret(change.targetToken),
      withSafety: change.withSafety ?? false,
      askRestart: change.askRestart ?? (() => undefined),
      nextShare: ({ progress }) =>
        Promise.resolve(shares[progress] === undefined ? null : new Secret(shares[progress])),
    },
    signal,
  );
  const restoreOptions = {
    snapshot: change.snapshot ?? 'latest',
    force: change.force ?? false,
    settleTimeoutMs: change.settleTimeoutMs ?? 60_000,
    restartWaitMs: change.restartWaitMs ?? 0,
    resume: change.resume ?? false,
  };
  return await restore(deps, restoreOptions, change.confirm ?? (() => Promise.resolve()), signal);
}

/** Thrown by {@link bringBack}'s `confirm` to stop before anything is installed. */
export class StopBeforeInstall extends Error {}

/** Everything a restore does before the install: resolves when it would have gone on, rejects with what refused it. */
export async function rehearse(options: AppOptions, change: { snapshot?: string } = {}): Promise<RestorePlan> {
  let seen: RestorePlan | undefined;
  try {
    await bringBack(options, {
      ...change,
      confirm: (plan) => {
        seen = plan ?? undefined;
        return Promise.reject(new StopBeforeInstall());
      },
    });
  } catch (e) {
    if (!(e instanceof StopBeforeInstall)) throw e;
  }
  if (seen === undefined) throw new Error('the restore ended without asking for a confirmation');
  return seen;
}
