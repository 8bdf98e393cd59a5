import { chooseCluster } from '../../config/cluster-config.ts';
import { StrongroomError } from '../../core/errors.ts';
import { newRunId } from '../../core/ids.ts';
import { systemClock } from '../../core/units.ts';
import type { Run } from '../define.ts';
import type { BackupFlags } from '../definitions/backup.ts';
import { table } from '../output.ts';

export const run: Run<BackupFlags> = async function (flags) {
  const config = await this.config(flags.config);
  const { name } = chooseCluster(config, flags.cluster);
  const [{ App }, { backup }, { preflight, preflightFailure }, { summariseBackup }, { withinRun }] = await Promise.all([
    import('../../app.ts'),
    import('../../backup/backup.ts'),
    import('../../backup/preflight.ts'),
    import('../../backup/summary.ts'),
    import('../../run/within-run.ts'),
  ]);
  const options = { purpose: 'backup', newLineage: flags.newLineage } as const;
  const progress = this.progress();
  await using app = new App(config, { onProgress: progress.onProgress, door: 'strongroom backup' });
  const configured = await app.backupDeps(name, this.signal);
  const deps = { ...configured, prove: flags.prove ?? configured.prove };

  if (flags.dryRun) {
    const { checks } = await preflight(deps, options, this.signal).finally(() => progress[Symbol.dispose]());
    const shown = checks.map(({ error: _error, ...check }) => check);
    const failure = preflightFailure(checks);
    this.output.result({ cluster: name, ready: failure === null, checks: shown }, () =>
      table(shown, [
        { title: 'CHECK', value: (check) => check.name },
        { title: 'STATUS', value: (check) => check.status },
        { title: 'DETAIL', value: (check) => check.detail },
      ]),
    );
    if (failure !== null) throw failure;
    return;
  }

  const run = newRunId(systemClock.now());
  const result = await withinRun(
    app,
    { cluster: name, job: 'backup', run, door: 'command' },
    () => backup(deps, { ...options, run }, this.signal),
    ({ complete }) => (complete ? 'done' : 'partly'),
  ).finally(() => progress[Symbol.dispose]());
  this.output.result(result, () => summariseBackup(result).join('\n'));
  if (!result.complete) throw partly(result.missing.map(({ what }) => what));
};

/** Exit code 3: there is a good backup, and a promise that was not kept. */
export function partly(missing: readonly string[]): StrongroomError {
  return new StrongroomError(
    'E_PARTIAL',
    `the snapshot is stored, but not everything that was promised: ${missing.join(', ')}`,
    {
      hint: 'find out why, then take another backup, or strongroom snapshots rewrap for a missing wrap',
    },
  );
}
