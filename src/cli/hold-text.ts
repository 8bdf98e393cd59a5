/** Holds in words, and who the person at the keyboard is. */
import { userInfo } from 'node:os';
import type { HoldRecord } from '../catalogue/record-types.ts';
import { StrongroomError } from '../core/errors.ts';
import type { HoldResult } from '../snapshots/hold.ts';
import type { LegalHoldOutcome } from '../snapshots/legal-hold.ts';
import type { Host } from './host.ts';

/** The name of the user of this system; in a container whose user has none, its number. */
export function operator(env: Host['env']): string {
  try {
    return userInfo().username;
  } catch {
    return env['USER'] ?? `uid ${process.getuid?.() ?? 'unknown'}`;
  }
}

/** `ana since 2026-11-22T… until …: audit of the year` */
export function holdInWords({ who, at, until, why }: HoldRecord): string {
  return `${who} since ${at}${until === null ? ', until it is released' : ` until ${until}`}: ${why}`;
}

export function describeHold({ act, snapshot, record, written, legalHolds }: HoldResult): string[] {
  const first =
    act === 'hold' && record !== null
      ? `${snapshot} is held by ${holdInWords(record)}`
      : `${snapshot} is released${record === null ? ' already; what was left of its legal holds is lifted' : ''}`;
  return [
    first,
    ...(record === null ? [] : [`  recorded in  ${written.stored.join(', ')}`]),
    ...written.failures.map(({ store, error }) => `  FAILED       ${store}: no record there: ${error.message}`),
    ...legalHolds.map((outcome) => `  ${describeLegalHold(act, outcome)}`),
  ];
}

function describeLegalHold(
  act: HoldResult['act'],
  { destination, isSupported, changed, error }: LegalHoldOutcome,
): string {
  if (error !== null) return `FAILED       ${destination}: its legal hold: ${error.message}`;
  if (isSupported === null) return `legal hold   ${destination}: nothing of the snapshot is there`;
  if (!isSupported) {
    const what = act === 'hold' ? 'none there: only strongroom respects the hold' : 'none there';
    return `legal hold   ${destination}: ${what}`;
  }
  const count = changed === 0 ? 'already' : `${changed} object(s)`;
  return `legal hold   ${destination}: ${act === 'hold' ? 'set' : 'lifted'}, ${count}`;
}

export function holdDocument(cluster: string, result: HoldResult): unknown {
  const { written, legalHolds } = result;
  return {
    cluster,
    ...result,
    written: {
      stored: written.stored,
      failures: written.failures.map(({ store, error }) => ({ destination: store, error: error.toJSON() })),
    },
    legalHolds: legalHolds.map((outcome) => ({ ...outcome, error: outcome.error?.toJSON() ?? null })),
  };
}

/** Exit code 3: it is recorded, and something that goes with it failed. null = nothing did. */
export function notWholly({ act, snapshot, written, legalHolds }: HoldResult): StrongroomError | null {
  const failed = [
    ...written.failures.map(({ store }) => `the record in ${store}`),
    ...legalHolds.flatMap(({ destination, error }) => (error === null ? [] : [`the legal hold in ${destination}`])),
  ];
  if (failed.length === 0) return null;
  return new StrongroomError('E_PARTIAL', `the ${act} of ${snapshot} is recorded, but not ${failed.join(', ')}`, {
    hint: `look why, then strongroom snapshots ${act} ${snapshot} again`,
    cause: written.failures[0]?.error ?? legalHolds.find(({ error }) => error !== null)?.error ?? undefined,
  });
}
