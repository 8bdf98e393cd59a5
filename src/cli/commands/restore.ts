import { chooseCluster } from '../../config/cluster-config.ts';
import { StrongroomError } from '../../core/errors.ts';
import { newRunId } from '../../core/ids.ts';
import { parseDuration, systemClock } from '../../core/units.ts';
import type { RestoreOptions } from '../../restore/options.ts';
import type { Confirm } from '../../restore/restore.ts';
import type { RestoreResult } from '../../restore/result.ts';
import type { Context } from '../context.ts';
import type { Run } from '../define.ts';
import type { RestoreFlags } from '../definitions/restore.ts';
import { confirmName } from '../prompt.ts';
import { readReference } from '../reference.ts';
import { shareSource } from '../shares.ts';
import { parseTime } from '../time.ts';

/** People who were asked to restart something are given this long. */
const RESTART_WAIT = '15m';

/** Thrown out of the confirmation by --dry-run: everything before the install was done, nothing after it. */
class PlanOnly {}

export const run: Run<RestoreFlags> = async function (flags) {
  const config = await this.config(flags.config);
  const { name } = chooseCluster(config, flags.cluster);
  const into = flags.to === undefined ? name : chooseCluster(config, flags.to).name;
  if (flags.confirm !== undefined && flags.confirm !== into) {
    throw new StrongroomError('E_CONFIRMATION', `--confirm says "${flags.confirm}", but the cluster is "${into}"`, {
      hint: 'nothing was changed',
    });
  }
  const options = optionsOf(flags, this);
  const [{ App }, { restore }, { summariseRestore }, { withinRun }] = await Promise.all([
    import('../../app.ts'),
    import('../../restore/restore.ts'),
    import('../../restore/summary.ts'),
    import('../../run/within-run.ts'),
  ]);
  const progress = this.progress();
  await using app = new App(config, { onProgress: progress.onProgress, door: 'strongroom restore' });
  const shares = await shareSource(flags.shares, this);
  const deps = await app.restoreDeps(
    name,
    {
      into,
      withSafety: !flags.withoutSafetySnapshot,
      targetToken:
        flags.targetToken === undefined ? null : await readReference(flags.targetToken, this, '--target-token'),
      nextShare: (need) => {
        progress[Symbol.dispose]();
        return shares.next(need);
      },
      askRestart: (needs) => {
        progress[Symbol.dispose]();
        const ask = 'restart these processes now, in this order (strongroom cannot reach them, and waits):';
        if (this.output.json) {
          // Nothing else is said there, and nobody would know what is waited for.
          this.output.warn(`${ask} ${needs.map(({ url, why }) => `${url} (${why})`).join(', ')}`);
          return;
        }
        this.output.say(ask);
        for (const { url, why } of needs) this.output.say(`  ${url}: ${why}`);
      },
    },
    this.signal,
  );
  const confirm: Confirm = async (plan, lines) => {
    progress[Symbol.dispose]();
    if (flags.dryRun) {
      this.output.result({ plan }, () => lines.join('\n'));
      throw new PlanOnly();
    }
    for (const line of lines) this.output.say(line);
    // Asked for when the cluster is already sealed by the restore: too late to find out that nobody can answer.
    if (plan !== null && plan.sharesNeeded > shares.atMost) throw tooFewShares(plan.sharesNeeded, shares.atMost);
    if (flags.confirm === undefined) await confirmName(this, into, '--confirm');
  };
  const run = newRunId(systemClock.now());
  const result = await withinRun(
    app,
    { cluster: into, job: 'restore', run, door: 'command' },
    () => restore(deps, { ...options, run }, confirm, this.signal).catch(nullForPlanOnly),
    (ended) => (ended === null || ended.complete ? 'done' : 'partly'),
  ).finally(() => progress[Symbol.dispose]());
  if (result === null) return;
  this.output.result(result, () => summariseRestore(result).join('\n'));
  if (!result.complete) throw partly(result);
};

function nullForPlanOnly(e: unknown): null {
  if (e instanceof PlanOnly) return null;
  throw e;
}

function optionsOf(flags: RestoreFlags, context: Pick<Context, 'stdin'>): RestoreOptions {
  if (flags.at !== undefined && flags.snapshot !== undefined) {
    throw new StrongroomError('E_USAGE', '--at and --snapshot both say which snapshot', { hint: 'give one of them' });
  }
  const wait = flags.waitForRestarts ?? (context.stdin.isTTY === true ? RESTART_WAIT : '0s');
  return {
    snapshot: flags.at === undefined ? (flags.snapshot ?? 'latest') : { notAfter: parseTime(flags.at) },
    takeMarked: flags.marked,
    force: flags.force,
    settleTimeoutMs: parseDuration(flags.timeout),
    restartWaitMs: parseDuration(wait),
    resume: flags.resume,
  };
}

function tooFewShares(needed: number, there: number): StrongroomError {
  return new StrongroomError(
    'E_PRECONDITION',
    `${needed} unseal key shares of the source will be needed, and ${there} are at hand`,
    { hint: 'nothing was installed; give them by --shares file:<path>, or run it in a terminal to be asked' },
  );
}

/** Exit code 3: the data are back, and not every node is proven to serve them. */
function partly({ voters, unasked }: RestoreResult): StrongroomError {
  const nodes = voters.flatMap(({ node, proven }) => (proven ? [] : [node]));
  if (unasked > 0) nodes.push(`${unasked} member(s) that the config does not name`);
  return new StrongroomError('E_PARTIAL', `the snapshot is restored, but not proven on ${nodes.join(', ')}`, {
    hint: 'run the same command again, and do what the result says for each of them: it proves them, and installs nothing; a restart must be seen, so add --wait-for-restarts 15m and restart them when it asks',
  });
}
