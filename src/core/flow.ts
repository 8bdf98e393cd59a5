/** Bytes on the move. **The end of a stream is a promise that everything before it was checked.** */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

export type Bytes = AsyncIterable<Uint8Array>;

/** May forward early; may END only when the content is proven. Throws otherwise. */
export type Stage = (source: Bytes) => Bytes;

/** Makes its effect visible only after a clean end of its source; on a throw nothing of it remains. */
export type Sink<T> = (source: Bytes) => Promise<T>;

/**
 * Runs `source` through `stages` into `sink`.
 *
 * Rejects with the first failure, or with `signal.reason` on abort; every generator's `finally` has run by then,
 * provided it had started. A source must therefore open what it opens *inside* its generator: a sink that fails
 * before it reads never starts the source.
 */
export async function flow<T>(source: Bytes, stages: readonly Stage[], sink: Sink<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const staged = stages.reduce<Bytes>((bytes, stage) => stage(bytes), source);
  let result: { value: T } | undefined;
  try {
    await pipeline(
      Readable.from(staged, { objectMode: true, highWaterMark: 1 }),
      async (body: AsyncIterable<Uint8Array>) => {
        result = { value: await sink(body) };
      },
      { signal },
    );
  } catch (e) {
    // pipeline wraps an abort in its own AbortError; the reason is what the caller said.
    if (signal.aborted && e instanceof Error && e.name === 'AbortError') throw signal.reason;
    throw e;
  }
  if (result === undefined) throw new Error('a sink ended without a result');
  return result.value;
}

/** A sink that discards, and counts. */
export async function discard(source: Bytes): Promise<{ bytes: number }> {
  let bytes = 0;
  for await (const chunk of source) bytes += chunk.byteLength;
  return { bytes };
}

/** A stage that reports how many bytes have passed so far. */
export function measure(onBytes: (total: number) => void): Stage {
  return async function* measured(source) {
    let total = 0;
    for await (const chunk of source) {
      total += chunk.byteLength;
      onBytes(total);
      yield chunk;
    }
  };
}

/** The whole of a small stream. Throws a RangeError past `limit` bytes: nothing unbounded is ever buffered. */
export async function collect(source: Bytes, limit: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of source) {
    total += chunk.byteLength;
    if (total > limit) throw new RangeError(`more than ${limit} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, total);
}
