/** Sources and sinks for the tests of stages. */
import type { Bytes } from '../../../src/core/flow.ts';

/** `bytes` in pieces of `size`; like a socket, it reuses one buffer for all of them when `reuse` is set. */
export async function* pieces(bytes: Uint8Array, size: number, reuse = false): Bytes {
  const shared = Buffer.alloc(Math.max(1, Math.min(size, bytes.byteLength)));
  for (let at = 0; at < bytes.byteLength; at += size) {
    const piece = bytes.subarray(at, at + size);
    if (!reuse) yield piece;
    else {
      shared.set(piece);
      yield shared.subarray(0, piece.byteLength);
    }
  }
}

/** Everything a stage let out before its end or its failure. */
export async function released(source: Bytes): Promise<{ bytes: Buffer; error: unknown }> {
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of source) chunks.push(Buffer.from(chunk));
    return { bytes: Buffer.concat(chunks), error: undefined };
  } catch (error) {
    return { bytes: Buffer.concat(chunks), error };
  }
}
