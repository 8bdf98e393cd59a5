/** Many things to do, a few at a time: ten thousand objects must not become ten thousand connections. */

/**
 * Runs `fn` for every item, at most `limit` at once, and takes the next item only when there is a hand free for it. After
 * the first failure nothing more is taken; rejects with it when all that had begun is over, or with `signal.reason`.
 */
export async function eachBounded<T>(
  items: Iterable<T> | AsyncIterable<T>,
  limit: number,
  fn: (item: T) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const source = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  const failures: unknown[] = [];
  const hand = async (): Promise<void> => {
    while (failures.length === 0) {
      try {
        signal.throwIfAborted();
        const next = await source.next();
        if (next.done === true) return;
        await fn(next.value);
      } catch (e) {
        failures.push(e);
      }
    }
  };
  await Promise.all(Array.from({ length: limit }, hand));
  if (failures.length === 0) return;
  await source.return?.();
  throw failures[0];
}
