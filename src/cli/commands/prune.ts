import { chooseCluster } from '../../config/cluster-config.ts';
import { StrongroomError } from '../../core/errors.ts';
import { newRunId } from '../../core/ids.ts';
import { formatBytes, formatDuration, systemClock } from '../../core/units.ts';
import type { DestinationPlan, PrunePlan } from '../../retention/prune-plan.ts';
import type { Run } from '../define.ts';
import type { PruneFlags } from '../definitions/prune.ts';
import { table } from '../output.ts';

export const run: Run<PruneFlags> = async function (flags) {
  const config = await this.config(flags.config);
  const { name } = chooseCluster(config, flags.cluster);
  const [
    { App },
    { planPrune },
    { prune, pruneFailure },
    { countText, planDocument, pruneDocument, summarisePrune, totalsOf },
    { withinRun },
  ] = await Promise.all([
    import('../../app.ts'),
    import('../../retention/prune-plan.ts'),
    import('../../retention/prune.ts'),
    import('../../retention/summary.ts'),
    import('../../run/within-run.ts'),
  ]);
  await using app = new App(config, { door: 'strongroom prune' });
  const deps = await app.pruneDeps(name, this.signal);
  const only = flags.destination;
  const known = deps.destinations.map(({ store }) => store.name);
  if (only !== undefined && !known.includes(only)) {
    throw new StrongroomError('E_USAGE', `${name} has no destination "${only}"`, {
      hint: `it has ${known.join(', ')}`,
    });
  }

  if (!flags.apply) {
    const plan = await planPrune(deps, this.signal);
    const shown = plan.destinations.filter(({ destination }) => only === undefined || destination === only);
    this.output.result(planDocument({ ...plan, destinations: shown }), () =>
      [...shown.flatMap((one) => describePlan(one, plan)), ...describeMarks(plan)].join('\n'),
    );
    const removed = shown.map((one) => totalsOf(one).remove);
    const total = { count: sum(removed.map(({ count }) => count)), bytes: sum(removed.map(({ bytes }) => bytes)) };
    this.output.say(`nothing was changed; strongroom prune --apply would remove ${countText(total)}`);
    return;
  }

  const run = newRunId(systemClock.now());
  const result = await withinRun(
    app,
    { cluster: name, job: 'prune', run, door: 'command' },
    () => prune(deps, { run, ...(only === undefined ? {} : { only }) }, this.signal),
    (ended) => (pruneFailure(ended) === null ? 'done' : 'failed'),
  );
  this.output.result(pruneDocument(result), () => summarisePrune(result).join('\n'));
  const failure = pruneFailure(result);
  if (failure !== null) throw failure;

  function describePlan(one: DestinationPlan, plan: PrunePlan): string[] {
    const totals = totalsOf(one);
    return [
      `${one.destination} (${one.location})`,
      table(one.snapshots, [
        { title: 'SNAPSHOT', value: ({ snapshot }) => snapshot },
        {
          title: 'AGE',
          value: ({ createdAt }) => formatDuration(plan.at.getTime() - createdAt.getTime()),
          align: 'right',
        },
        { title: 'SIZE', value: ({ bytes }) => formatBytes(bytes), align: 'right' },
        { title: 'ACTION', value: ({ action }) => action },
        { title: 'WHY', value: ({ reasons }) => reasons.join('; ') },
      ]),
      ...one.orphans.map(
        ({ action, name: orphan, reason }) => `${action === 'remove' ? 'clear' : 'leave'}  ${orphan}: ${reason}`,
      ),
      ...one.locks.map(({ snapshot, until }) => `lock   ${snapshot} until ${until.toISOString()}`),
      ...one.notes.map((note) => `note   ${note}`),
      `keep ${countText(totals.keep)}; remove ${countText(totals.remove)}; defer ${countText(totals.defer)}; clear ${countText(totals.orphans, 'orphan(s)')}`,
      '',
    ];
  }
};

function describeMarks({ marks }: PrunePlan): string[] {
  return marks.map(({ snapshot, act, why }) => `${act === 'ignore' ? 'mark' : 'lift the mark of'} ${snapshot}: ${why}`);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
