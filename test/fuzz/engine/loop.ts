/** The search: change an input that reached something new, run it, keep it when it does so too. */
import { Coverage } from './coverage.ts';
import type { Judge, Problem } from './judge.ts';
import { mutate } from './mutate.ts';
import { Random } from './random.ts';
import type { Target } from './target.ts';

export type LoopOptions = {
  /** run first, each of them, whatever the time: a corpus is also a regression test */
  corpus: readonly Buffer[];
  seed: number;
  /** of searching, when the corpus has run */
  seconds: number;
  /** ends earlier after this many */
  maxExecutions: number;
  /** false: mutations of the corpus alone, for comparison */
  isGuided: boolean;
};

export type LoopReport = {
  executions: number;
  seconds: number;
  replayed: number;
  /** characters of source that ran */
  covered: number;
  /** inputs that reached something new, in the order they were found; without the corpus */
  added: Buffer[];
  finding: { problem: Problem; input: Buffer } | null;
};

/** A look at the coverage costs about as much as a run: it is taken of several at once, and again of each if it tells. */
const BATCH = 16;
/** Most of a pool is broken early, which is why it is there, and cannot be taken apart; to find that out costs little. */
const MAX_TRIES = 12;

/** Stops at the first finding, when the time is over, or after `maxExecutions`. */
export async function search(target: Target, judge: Judge, options: LoopOptions): Promise<LoopReport> {
  using coverage = new Coverage(target.covers);
  const random = new Random(options.seed);
  const start = performance.now();
  const secondsSince = (then: number): number => (performance.now() - then) / 1000;
  const pool: Buffer[] = [];
  const added: Buffer[] = [];
  let executions = 0;
  let replayed = 0;
  const report = (finding: LoopReport['finding']): LoopReport => ({
    executions,
    seconds: secondsSince(start),
    replayed,
    covered: coverage.covered,
    added,
    finding,
  });
  const first = [
    ...options.corpus.map((input) => ({ input, from: 'corpus' })),
    ...target.seeds().map((input) => ({ input, from: 'seeds' })),
    ...(target.once?.() ?? []).map((input) => ({ input, from: 'once' })),
  ];
  for (const { input, from } of first) {
    executions += 1;
    const problem = await judge.run(input);
    if (problem !== null) return report({ problem, input });
    const late = await judge.settle([input]);
    if (late !== null) return report(late);
    coverage.take();
    if (from === 'corpus') replayed += 1;
    if (from !== 'once') pool.push(input);
  }
  if (pool.length === 0) pool.push(Buffer.alloc(0));
  const searchBegan = performance.now();
  while (secondsSince(searchBegan) < options.seconds && executions < options.maxExecutions) {
    const batch = Array.from({ length: BATCH }, () => change(target, pool, random));
    for (const input of batch) {
      executions += 1;
      const problem = await judge.run(input);
      if (problem !== null) return report({ problem, input });
    }
    const late = await judge.settle(batch);
    if (late !== null) return report(late);
    if (!options.isGuided || !coverage.peek()) continue;
    for (const input of batch) {
      executions += 1;
      const problem = await judge.run(input);
      if (problem !== null) return report({ problem, input });
      if (!coverage.take()) continue;
      pool.push(input);
      added.push(input);
    }
  }
  return report(null);
}

/** Half of them informed, where the target knows how, and half blind. */
function change(target: Target, pool: readonly Buffer[], random: Random): Buffer {
  const isInformed = target.mutate !== undefined && random.isOneIn(2);
  for (let tries = isInformed ? MAX_TRIES : 0; tries > 0; tries -= 1) {
    const informed = target.mutate?.(pick(pool, random), random) ?? null;
    if (informed !== null) return informed.subarray(0, target.maxBytes);
  }
  return mutate(pick(pool, random), random.pick(pool), random, target);
}

/** What was found last leads on: half of the choices fall into the youngest eighth. */
function pick(pool: readonly Buffer[], random: Random): Buffer {
  const from = random.isOneIn(2) ? Math.floor((pool.length * 7) / 8) : 0;
  return random.pick(pool.slice(from));
}

/** The smallest inputs that together reach what all of `inputs` reach, short ones preferred. */
export async function cover(target: Target, judge: Judge, inputs: readonly Buffer[]): Promise<Buffer[]> {
  using coverage = new Coverage(target.covers);
  // What only the very first run of a process reaches belongs to no input.
  for (const input of inputs) await judge.run(input);
  coverage.forget();
  const kept: Buffer[] = [];
  for (const input of inputs.toSorted((a, b) => a.length - b.length)) {
    await judge.run(input);
    if (coverage.take()) kept.push(input);
  }
  return kept;
}
