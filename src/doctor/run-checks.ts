/** Runs checks beside each other: one that fails, hangs or is broken hides no other. */
import { setTimeout as wait } from 'node:timers/promises';
import { describeError, isError } from '../core/errors.ts';
import { formatDuration } from '../core/units.ts';
import { type Area, type Finding, type Outcome, problem } from './finding.ts';

export type Check = {
  area: Area;
  /** names the finding when the check itself fails */
  what: string;
  /** in milliseconds; default {@link LIMIT_MS} */
  limitMs?: number;
  run: (signal: AbortSignal) => Promise<readonly Outcome[]>;
};

/** A silent host costs so long and no longer. */
export const LIMIT_MS = 15_000;
/** After its time is over, what a check has put somewhere is still removed. */
const CLEANUP_MS = 10_000;
const AT_ONCE = 16;

/** The findings of all checks, in their order. Rejects with the abort reason alone. */
export async function runChecks(checks: readonly Check[], signal: AbortSignal): Promise<Finding[]> {
  const found: Finding[][] = checks.map(() => []);
  const todo = [...checks.entries()];
  const runners = Array.from({ length: AT_ONCE }, async () => {
    for (let next = todo.shift(); next !== undefined; next = todo.shift()) {
      const [index, check] = next;
      const outcomes = await runOne(check, signal);
      found[index] = outcomes.map((outcome) => ({ area: check.area, ...outcome }));
    }
  });
  await Promise.all(runners);
  signal.throwIfAborted();
  return found.flat();
}

async function runOne(check: Check, signal: AbortSignal): Promise<readonly Outcome[]> {
  signal.throwIfAborted();
  const limitMs = check.limitMs ?? LIMIT_MS;
  const over = new AbortController();
  const timer = setTimeout(() => over.abort(), limitMs);
  const either = AbortSignal.any([signal, over.signal]);
  const running = check.run(either).catch((e: unknown) => {
    signal.throwIfAborted();
    if (over.signal.aborted && !isError(e)) return [late(check.what, limitMs)];
    return [failed(check.what, e)];
  });
  const ended = Promise.withResolvers<void>();
  either.addEventListener('abort', () => ended.resolve(), { once: true });
  if (either.aborted) ended.resolve();
  const gaveUp = new AbortController();
  try {
    const first = await Promise.race([running, ended.promise]);
    if (first !== undefined) return first;
    const grace = wait(CLEANUP_MS, undefined, { signal: gaveUp.signal }).catch(() => undefined);
    return (await Promise.race([running, grace])) ?? [late(check.what, limitMs)];
  } finally {
    clearTimeout(timer);
    gaveUp.abort();
  }
}

/** What a check that rejected says of `what`: the error, and its hint as the fix. */
export function failed(what: string, e: unknown): Outcome {
  if (!isError(e)) return problem(what, `a defect in this check: ${describeError(e)}`, 'strongroom doctor --verbose');
  return problem(what, `${e.code}: ${e.message}`, e.hint ?? `look up ${e.code} in docs/errors.md`);
}

function late(what: string, ms: number): Outcome {
  return problem(what, `no answer within ${formatDuration(ms)}`, 'look at its address, and at the network to it');
}

/**
 * One part of a check that has several: its failure is a finding, and the next part still runs. `run` must obey its
 * signal, which ends it after {@link LIMIT_MS}.
 */
export async function attempt(
  what: string,
  signal: AbortSignal,
  run: (signal: AbortSignal) => Promise<Outcome | readonly Outcome[]>,
): Promise<readonly Outcome[]> {
  const over = new AbortController();
  const timer = setTimeout(() => over.abort(), LIMIT_MS);
  try {
    const outcome = await run(AbortSignal.any([signal, over.signal]));
    return 'status' in outcome ? [outcome] : outcome;
  } catch (e) {
    signal.throwIfAborted();
    return [over.signal.aborted && !isError(e) ? late(what, LIMIT_MS) : failed(what, e)];
  } finally {
    clearTimeout(timer);
  }
}
