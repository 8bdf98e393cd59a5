/** Asking destinations that may be dead: what another one answers is not held up by it for long. */
import { StrongroomError } from '../core/errors.ts';
import { formatDuration } from '../core/units.ts';
import type { Store } from '../store/store.ts';

/**
 * A store repeats a request for a minute before it gives up. Where another destination has the answer already, or may
 * have it, so long and no longer, in milliseconds.
 */
export const GRACE_MS = 15_000;

/** Asks all at once. Once one has answered, the others have `graceMs` left; those that need longer are rejected as E_STORE_UNREACHABLE. */
export async function askAll(
  stores: readonly Store[],
  ask: (store: Store, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
  graceMs = GRACE_MS,
): Promise<PromiseSettledResult<void>[]> {
  const impatience = new AbortController();
  const either = AbortSignal.any([signal, impatience.signal]);
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.allSettled(
      stores.map(async (store) => {
        await toldSlow(store, graceMs, impatience.signal, signal, () => ask(store, either));
        timer ??= setTimeout(() => impatience.abort(), graceMs);
      }),
    );
  } finally {
    clearTimeout(timer);
  }
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
      `${store.location} does not answer within ${formatDuration(graceMs)}, and another destination is asked in its place`,
      { hint: 'look at its address, and at the network to it', cause: e },
    );
  }
}
