import { chooseCluster } from '../../config/cluster-config.ts';
import { StrongroomError } from '../../core/errors.ts';
import { parseDuration } from '../../core/units.ts';
import type { Run } from '../define.ts';
import type { RestoreFlags } from '../definitions/restore.ts';
import { confirmName } from '../prompt.ts';
import { readReference } from '../reference.ts';
import { shareSource } from '../shares.ts';

/** Thrown out of the confirmation by --dry-run: everything before the install was done, nothing after it. */
class PlanOnly {}

export const run: Run<RestoreFlags> = async function (flags) {
  const config = await this.config(flags.config);
  const { name } = chooseCluster(config, flags.cluster);
  if (flags.confirm !== undefined && flags.confirm !== name) {
    throw new StrongroomError('E_CONFIRMATION', `--confirm says "${flags.confirm}", but the cluster is "${name}"`, {
      hint: 'nothing was changed',
    });
  }
  const [{ App }, { restore }, { summariseRestore }] = await Promise.all([
    import('../../app.ts'),
    import('../../restore/restore.ts'),
    import('../../restore/summary.ts'),
  ]);
  const progress = this.progress();
  await using app = new App(config, { onProgress: progress.onProgress });
  const shares = await shareSource(flags.shares, this);
  const deps = await app.restoreDeps(
    name,
    {
      targetToken:
        flags.targetToken === undefined ? null : await readReference(flags.targetToken, this, '--target-token'),
      nextShare: (need) => {
        progress[Symbol.dispose]();
        return shares.next(need);
      },
    },
    this.signal,
  );
  const options = { snapshot: flags.snapshot, force: flags.force, settleTimeoutMs: parseDuration(flags.timeout) };
  try {
    const result = await restore(
      deps,
      options,
      async (plan, lines) => {
        progress[Symbol.dispose]();
        if (flags.dryRun) {
          this.output.result({ plan }, () => lines.join('\n'));
          throw new PlanOnly();
        }
        for (const line of lines) this.output.say(line);
        // Asked for when the cluster is already sealed by the restore: too late to find out that nobody can answer.
        if (plan.sharesNeeded > shares.atMost) throw tooFewShares(plan.sharesNeeded, shares.atMost);
        if (flags.confirm === undefined) await confirmName(this, name, '--confirm');
      },
      this.signal,
    ).finally(() => progress[Symbol.dispose]());
    this.output.result(result, () => summariseRestore(result).join('\n'));
  } catch (e) {
    if (!(e instanceof PlanOnly)) throw e;
  }
};

function tooFewShares(needed: number, there: number): StrongroomError {
  return new StrongroomError(
    'E_PRECONDITION',
    `${needed} unseal key shares of the source will be needed, and ${there} are at hand`,
    { hint: 'nothing was installed; give them by --shares file:<path>, or run it in a terminal to be asked' },
  );
}
