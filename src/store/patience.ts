/** Asking destinations that may be dead: what another one answers is not held up by it for long. */
import { StrongroomError } from '../core/errors.ts';
import { formatDuration } from '../core/units.ts';
import type { Store } from './store.ts';

/**
 * A store repeats a request for a minute before it gives up. Where another destination has the answer already, or may
 * have it, so long and no longer, in milliseconds.
 */
const GRACE_MS = 15_000;
const NO_TIMER: NodeJS.Timeout | undefined = undefined;

/**
 * Asks all at once. Once one has answered, the others have `graceMs` left; those that are silent for longer are rejected as
 * E_STORE_UNREACHABLE. `heard` says that a store is at work: ten thousand names take their time, and each page is a sign of life.
 */
export async function askAll(
  stores: readonly Store[],
  ask: (store: Store, signal: AbortSignal, heard: () => void) => Promise<void>,
  signal: AbortSignal,
  graceMs = GRACE_MS,
): Promise<PromiseSettledResult<void>[]> {
  const waits = stores.map((store) => ({ store, impatience: new AbortController(), isOver: false, timer: NO_TIMER }));
  let isAnswered = false;
  const restart = (wait: (typeof waits)[number]): void => {
    clearTimeout(wait.timer);
    if (isAnswered && !wait.isOver) wait.timer = setTimeout(() => wait.impatience.abort(), graceMs);
  };
  return await Promise.allSettled(
    waits.map(async (wait) => {
      const either = AbortSignal.any([signal, wait.impatience.signal]);
      try {
        await toldSlow(wait.store, graceMs, wait.impatience.signal, signal, () =>
          ask(wait.store, either, () => restart(wait)),
        );
      } finally {
        wait.isOver = true;
        clearTimeout(wait.timer);
      }
      if (isAnswered) return;
      isAnswered = true;
      for (const other of waits) restart(other);
    }),
  );
}

/** Asks one, for at most `graceMs`; then it is rejected as E_STORE_UNREACHABLE. */
export async function askBriefly<T>(
  store: Store,
  ask: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
  graceMs = GRACE_MS,
): Promise<T> {
  const impatience = new AbortController();
  const timer = setTimeout(() => impatience.abort(), graceMs);
  try {
    const either = AbortSignal.any([signal, impatience.signal]);
    return await toldSlow(store, graceMs, impatience.signal, signal, () => ask(either));
  } finally {
    clearTimeout(timer);
  }
}

async function toldSlow<T>(
  store: Store,
  graceMs: number,
  impatience: AbortSignal,
  signal: AbortSignal,
  ask: () => Promise<T>,
): Promise<T> {
  try {
    return await ask();
  } catch (e) {
    if (!impatience.aborted || signal.aborted) throw e;
    throw new StrongroomError(
      'E_STORE_UNREACHABLE',
      `${store.location} does not answer within ${formatDuration(graceMs)}`,
      { hint: 'look at its address, and at the network to it', cause: e },
    );
  }
}
