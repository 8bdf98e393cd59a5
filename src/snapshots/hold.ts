/** Holds a snapshot against removal, and releases it: a signed record everywhere, and a legal hold where the store has one. */
import type { Catalogue } from '../catalogue/catalogue.ts';
import { actsBySnapshot, isHolding, newestAct } from '../catalogue/holds.ts';
import type { HoldRecord } from '../catalogue/record-types.ts';
import type { Records, Written } from '../catalogue/records.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import { newRunId, type SnapshotId, snapshotTime } from '../core/ids.ts';
import type { Clock } from '../core/units.ts';
import { objectKey } from '../store/layout.ts';
import type { Store } from '../store/store.ts';
import { type LegalHoldOutcome, setLegalHolds } from './legal-hold.ts';
import { KINDS } from './presence.ts';

export type HoldDeps = { catalogue: Catalogue; records: Records; stores: readonly Store[]; clock: Clock };

export type HoldRequest = {
  who: string;
  why: string;
  /** null = until it is released */
  until: Date | null;
};

export type HoldResult = {
  snapshot: SnapshotId;
  act: HoldRecord['act'];
  /** what was recorded; null = there was nothing to record, only legal holds to lift */
  record: HoldRecord | null;
  written: Written;
  legalHolds: LegalHoldOutcome[];
  /** what the caller should know all the same */
  warnings: string[];
};

/**
 * Exempts `snapshot` from removal from now on. Also a snapshot whose manifest is refused may be held, with a warning: what
 * was tampered with is evidence. A destination that takes no record or no legal hold is in the result; rejects with E_NOT_FOUND
 * when nobody has anything of the snapshot, and when no destination takes the record.
 */
export async function holdSnapshot(
  deps: HoldDeps,
  snapshot: SnapshotId,
  { who, why, until }: HoldRequest,
  signal: AbortSignal,
): Promise<HoldResult> {
  const now = deps.clock.now();
  if (until !== null && until <= now) {
    throw new StrongroomError('E_USAGE', `a hold until ${until.toISOString()} would be over before it begins`, {
      hint: 'give --until a time to come, or leave it out',
    });
  }
  const { manifest, warnings } = await lookFor(deps, snapshot, signal);
  const { last, refusals } = await lastAct(deps, snapshot, signal);
  warnings.push(...refusals.map(({ message }) => message));
  const record = {
    ...base(deps, snapshot, now, last, { who, why }),
    act: 'hold',
    until: until?.toISOString() ?? null,
  } as const;
  const written = await deps.records.writeHold(record, signal);
  const legalHolds = await setLegalHolds(deps, { snapshot, manifest, isHeld: true }, signal);
  return { snapshot, act: 'hold', record, written, legalHolds, warnings };
}

/**
 * Ends the hold of `snapshot`, and lifts the legal holds that go with it. The record comes first: a legal hold that outlives
 * it only keeps more than it must, and a second release lifts it. Legal holds of a snapshot that strongroom never held belong to
 * somebody else: rejects with E_PRECONDITION, as when there is nothing left to release.
 */
export async function releaseSnapshot(
  deps: HoldDeps,
  snapshot: SnapshotId,
  { who, why }: Pick<HoldRequest, 'who' | 'why'>,
  signal: AbortSignal,
): Promise<HoldResult> {
  const now = deps.clock.now();
  const { last, refusals } = await lastAct(deps, snapshot, signal);
  const warnings = refusals.map(({ message }) => message);
  if (last === null) throw notHeld(snapshot, 'nobody has held it', refusals);
  const found = await lookFor(deps, snapshot, signal);
  warnings.push(...found.warnings);
  const change = { snapshot, manifest: found.manifest, isHeld: false };
  if (last.act === 'release') {
    const legalHolds = await setLegalHolds(deps, change, signal);
    if (legalHolds.every(({ changed, error }) => changed === 0 && error === null)) {
      throw notHeld(snapshot, `${last.who} released it at ${last.at}`, refusals);
    }
    return { snapshot, act: 'release', record: null, written: { stored: [], failures: [] }, legalHolds, warnings };
  }
  const record = { ...base(deps, snapshot, now, last, { who, why }), act: 'release', until: null } as const;
  const written = await deps.records.writeHold(record, signal);
  const legalHolds = await setLegalHolds(deps, change, signal);
  if (!isHolding(last, now)) warnings.push(`the hold was over since ${last.until}`);
  return { snapshot, act: 'release', record, written, legalHolds, warnings };
}

async function lastAct(
  { records }: HoldDeps,
  snapshot: SnapshotId,
  signal: AbortSignal,
): Promise<{ last: HoldRecord | null; refusals: StrongroomError[] }> {
  const { names, failures } = await records.holds(signal);
  const { record, refused } = await newestAct(records, actsBySnapshot(names).get(snapshot) ?? [], signal);
  return { last: record, refusals: [...failures, ...refused] };
}

/** The newest act counts, so this one must be the newest, also where the one before was made under a clock that was ahead. */
function base(
  { records }: HoldDeps,
  snapshot: SnapshotId,
  now: Date,
  last: HoldRecord | null,
  { who, why }: { who: string; why: string },
): Omit<HoldRecord, 'act' | 'until'> {
  for (const [flag, text] of Object.entries({ who, why })) {
    if (text.trim() !== '') continue;
    throw new StrongroomError('E_USAGE', `--${flag} is empty`, {
      hint: 'in a year somebody will ask who did it, and why',
    });
  }
  const after = last === null ? 0 : snapshotTime(last.id as SnapshotId).getTime() + 1;
  const id = newRunId(new Date(Math.max(now.getTime(), after)));
  return {
    schema: '1',
    cluster: records.cluster,
    snapshot,
    id,
    at: now.toISOString(),
    who: who.trim(),
    why: why.trim(),
  };
}

/** Something of the snapshot must be there to be held. */
async function lookFor(
  { catalogue, stores }: HoldDeps,
  snapshot: SnapshotId,
  signal: AbortSignal,
): Promise<{ manifest: Awaited<ReturnType<Catalogue['read']>>['manifest'] | null; warnings: string[] }> {
  try {
    const { manifest, refused } = await catalogue.read(snapshot, signal);
    return { manifest, warnings: refused.map(({ destination, error }) => `${destination}: ${error.message}`) };
  } catch (e) {
    if (!isError(e)) throw e;
    for (const store of stores) {
      for (const kind of KINDS) {
        const head = await store
          .head(objectKey(catalogue.cluster, kind, snapshot), { signal })
          .catch((failure: unknown) => {
            signal.throwIfAborted();
            if (isError(failure)) return null;
            throw failure;
          });
        if (head !== null) return { manifest: null, warnings: [e.message] };
      }
    }
    throw e;
  }
}

function notHeld(snapshot: SnapshotId, why: string, errors: readonly StrongroomError[]): StrongroomError {
  const others = errors.map(({ message }) => `; ${message}`).join('');
  return new StrongroomError('E_PRECONDITION', `${snapshot} is not held: ${why}${others}`, {
    hint: 'strongroom snapshots list --held --all shows what is',
  });
}
