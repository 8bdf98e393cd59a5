/** A finding as small as it gets: for people, and for the corpus. */
import type { Judge, Problem } from './judge.ts';

const SECONDS = 5;

// What is slow or large takes long each time, and its size may be what it is about.
const KINDS: readonly Problem['kind'][] = ['error', 'violation'];

/** Takes pieces out of `input` as long as the problem stays one of the same kind. Ends after some seconds at the latest. */
export async function shrink(judge: Judge, input: Buffer, kind: Problem['kind']): Promise<Buffer> {
  if (!KINDS.includes(kind)) return input;
  const until = performance.now() + SECONDS * 1000;
  let smallest = input;
  for (let piece = Math.ceil(input.length / 2); piece >= 1; piece = piece === 1 ? 0 : Math.ceil(piece / 2)) {
    for (let at = 0; at < smallest.length; ) {
      if (performance.now() > until) return smallest;
      const without = Buffer.concat([smallest.subarray(0, at), smallest.subarray(at + piece)]);
      const problem = await judge.run(without);
      if (problem?.kind === kind) smallest = without;
      else at += piece;
    }
  }
  return smallest;
}
