import { describeError, StrongroomError } from '../../core/errors.ts';
import { snapshotTime } from '../../core/ids.ts';
import { formatBytes, systemClock } from '../../core/units.ts';
import type { ListedSnapshot, ListFilter } from '../../snapshots/list.ts';
import type { Run } from '../define.ts';
import type { SnapshotsListFlags } from '../definitions/snapshots.ts';
import { type Column, table } from '../output.ts';
import { chooseDestination, openSnapshots } from '../snapshots.ts';

const DEFAULT_LIMIT = 50;

export const run: Run<SnapshotsListFlags> = async function (flags) {
  refuseNonsense(flags);
  const limit = flags.all ? null : (flags.limit ?? DEFAULT_LIMIT);
  const { listNames, listSnapshots } = await import('../../snapshots/list.ts');
  await using snapshots = await openSnapshots(this, flags);
  const { catalogue, stores } = snapshots.deps;
  const destination = chooseDestination(snapshots.deps, flags.destination);
  const named = destination === undefined ? undefined : [destination];
  const places = flags.region === undefined ? named : snapshots.inRegion(flags.region);
  const among = flags.generation === undefined ? undefined : await snapshots.members(flags.generation);
  const filter: ListFilter = {
    ...(flags.since === undefined ? {} : { since: flags.since }),
    ...(flags.until === undefined ? {} : { until: flags.until }),
    ...(places === undefined ? {} : { destinations: places }),
    ...(among === undefined ? {} : { among }),
    ...(flags.purpose === undefined ? {} : { purpose: flags.purpose }),
    ...(flags.proven || flags.unproven ? { proof: flags.proven ? 'proven' : 'unproven' } : {}),
    isHeld: flags.held,
  };
  const missing = (in_: readonly string[]): string[] =>
    stores.map(({ name }) => name).filter((name) => !in_.includes(name));

  if (flags.namesOnly) {
    const { entries, failures } = await listNames(snapshots.deps, filter, this.signal);
    for (const failure of failures) this.output.warn(`not listed: ${describeError(failure)}`);
    const rows = entries.slice(0, limit ?? entries.length).map(({ snapshot, destinations }) => ({
      snapshot,
      createdAt: snapshotTime(snapshot).toISOString(),
      destinations,
      missing: missing(destinations),
    }));
    const more = entries.length - rows.length;
    const document = { cluster: catalogue.cluster, snapshots: rows, more, failures: failures.map((e) => e.toJSON()) };
    this.output.result(document, () => [table(rows, NAMES), ...moreLine(more)].join('\n'));
    return;
  }

  const records = await snapshots.records({ isReadOnly: true });
  const deps = { catalogue, records, clock: systemClock };
  const { more, failures, snapshots: found } = await listSnapshots(deps, filter, limit, this.signal);
  for (const failure of failures) this.output.warn(`not listed, or not believed: ${describeError(failure)}`);
  const rows = found.map((row) => ({
    ...row,
    createdAt: row.createdAt.toISOString(),
    missing: missing(row.destinations),
    error: row.error?.toJSON() ?? null,
  }));
  const document = { cluster: catalogue.cluster, snapshots: rows, more, failures: failures.map((e) => e.toJSON()) };
  this.output.result(document, () => [table(rows, [...FACTS, ...NAMES.slice(2)]), ...moreLine(more)].join('\n'));
};

type Names = { snapshot: string; createdAt: string; destinations: string[]; missing: string[] };
type Facts = Names & Omit<ListedSnapshot, keyof Names | 'error'> & { error: Record<string, unknown> | null };

const NAMES: Column<Names>[] = [
  { title: 'SNAPSHOT', value: (row) => row.snapshot },
  { title: 'TAKEN', value: (row) => row.createdAt },
  { title: 'IN', value: (row) => row.destinations.join(', ') },
  { title: 'NOT IN', value: (row) => row.missing.join(', ') },
];

const FACTS: Column<Facts>[] = [
  ...NAMES.slice(0, 2),
  { title: 'PURPOSE', value: (row) => row.purpose ?? `REFUSED: ${String(row.error?.['code'])}` },
  { title: 'SIZE', value: (row) => (row.bytes === null ? '' : formatBytes(row.bytes)), align: 'right' },
  { title: 'PROOF', value: describeProof },
  { title: 'MARK', value: ({ mark }) => (mark === null ? '' : 'ignored for restore') },
  { title: 'HELD', value: ({ hold }) => (hold === null ? '' : `${hold.who}${untilWords(hold.until)}`) },
];

function describeProof({ proof, proofs }: Facts): string {
  const bad = proofs.flatMap(({ destination, verdict }) => (verdict === 'bad' ? [destination] : []));
  if (bad.length > 0) return `BAD in ${bad.join(', ')}`;
  if (proof === 'none') return '';
  const newest =
    proofs
      .map(({ provenAt }) => provenAt)
      .sort()
      .at(-1) ?? '';
  return `good ${newest.slice(0, 10)} in ${proofs.map(({ destination }) => destination).join(', ')}`;
}

function untilWords(until: string | null): string {
  return until === null ? '' : ` until ${until.slice(0, 10)}`;
}

function moreLine(more: number): string[] {
  return more === 0 ? [] : ['', `${more} older not shown: --limit <n>, --until <time> or --all`];
}

function refuseNonsense(flags: SnapshotsListFlags): void {
  const clash = (what: string, hint: string): never => {
    throw new StrongroomError('E_USAGE', `${what} together make no sense`, { hint });
  };
  if (flags.all && flags.limit !== undefined) clash('--all and --limit', 'give one of them');
  if (flags.destination !== undefined && flags.region !== undefined) clash('--destination and --region', 'give one');
  if (flags.proven && flags.unproven) clash('--proven and --unproven', 'leave both out');
  const isTold = flags.purpose !== undefined || flags.generation !== undefined;
  if (flags.namesOnly && (flags.proven || flags.unproven || flags.held || isTold)) {
    const hint = 'names do not tell those: leave --names-only out';
    clash('--names-only and a filter by proof, hold, purpose or generation', hint);
  }
  if (flags.since !== undefined && flags.until !== undefined && flags.since > flags.until) {
    clash(`--since ${flags.since.toISOString()} and --until ${flags.until.toISOString()}`, 'exchange them');
  }
}
