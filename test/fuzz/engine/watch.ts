/** Starts the fuzzing process, and says of what it died when it dies. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Problem } from './judge.ts';
import type { LoopOptions, LoopReport } from './loop.ts';
import { type Answer, HEAD_BYTES, type Job } from './messages.ts';

export type TargetAt = { module: URL; name: string };
export type FuzzOptions = Omit<LoopOptions, 'corpus'> & { corpus: readonly Buffer[]; hangMs?: number };

const CHILD = fileURLToPath(new URL('./child.ts', import.meta.url));
/** Wall clock of one input. A machine with eight busy neighbours still does the longest in a second. */
const HANG_MS = 20_000;
const LOOK_MS = 100;
/** A fuzzing process has some 40 MB: what a reader could put on top of it is far below this, or a finding. */
const MAX_HEAP_MB = 256;
const STDERR_KEPT = 16 * 1024;

/** Runs `target` until a finding or the end of the time. The process is gone when this settles. */
export async function fuzz(target: TargetAt, options: FuzzOptions): Promise<LoopReport> {
  const { corpus, hangMs = HANG_MS, ...rest } = options;
  const start = performance.now();
  const end = await run(target, 'search', corpus, rest, hangMs);
  if ('problem' in end) {
    const { begun, problem, input } = end;
    const seconds = (performance.now() - start) / 1000;
    return { executions: begun, seconds, replayed: 0, covered: 0, added: [], finding: { problem, input } };
  }
  if (!('report' in end)) throw new Error('the fuzzing process gave another answer than a report');
  const { report, added, finding } = end;
  return {
    ...report,
    added: added.map((bytes) => Buffer.from(bytes)),
    finding: finding === null ? null : { problem: finding.problem, input: Buffer.from(finding.input) },
  };
}

/** Those of `corpus` that together reach what all of it reaches. Rejects when one of them ends the process. */
export async function reduce(target: TargetAt, corpus: readonly Buffer[]): Promise<Buffer[]> {
  const none = { seed: 0, seconds: 0, maxExecutions: 0, isGuided: false };
  const end = await run(target, 'cover', corpus, none, HANG_MS);
  if (!('kept' in end)) throw new Error('the corpus could not be reduced: replay it first');
  return end.kept.map((bytes) => Buffer.from(bytes));
}

type Death = { problem: Problem; input: Buffer; begun: number };

async function run(
  target: TargetAt,
  task: Job['task'],
  corpus: readonly Buffer[],
  options: Job['options'],
  hangMs: number,
): Promise<Answer | Death> {
  const directory = mkdtempSync(join(tmpdir(), 'strongroom-fuzz-'));
  const running = join(directory, 'running');
  const child = fork(CHILD, [running], {
    serialization: 'advanced',
    execArgv: [`--max-old-space-size=${MAX_HEAP_MB}`],
    env: { TMPDIR: directory },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const gone = once(child, 'close') as Promise<[number | null, string | null]>;
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = `${said}${text}`.slice(-STDERR_KEPT);
  });
  const answer = Promise.withResolvers<Answer>();
  child.once('message', (message) => answer.resolve(message as Answer));
  const hung = Promise.withResolvers<Problem>();
  let [seen, since] = [0, performance.now()];
  const look = setInterval(() => {
    const { begun } = lastInput(running);
    if (begun !== seen) since = performance.now();
    seen = begun;
    if (begun > 0 && performance.now() - since > hangMs) {
      hung.resolve({ kind: 'hang', message: `no end within ${hangMs} ms` });
    }
  }, LOOK_MS);
  const job: Job = { module: target.module.href, name: target.name, task, options, corpus: [...corpus] };
  try {
    child.send(job);
    const end = await Promise.race([answer.promise, hung.promise, gone.then(([code]) => death(code, said))]);
    if (!('kind' in end)) return end;
    const { begun, input } = lastInput(running);
    // Before its first input it is the target that is broken, not what it reads.
    if (begun === 0) throw new Error(`the fuzz target ${target.name} does not start: ${end.message}`);
    return { problem: end, input, begun };
  } finally {
    clearInterval(look);
    child.kill('SIGKILL');
    await gone;
    rmSync(directory, { recursive: true, force: true });
  }
}

function death(code: number | null, said: string): Problem {
  const isFull = said.includes('JavaScript heap out of memory');
  if (isFull) return { kind: 'memory', message: `the process ended at its memory limit of ${MAX_HEAP_MB} MB of heap` };
  const line = said.split('\n').find((text) => /^\S*(Error|Exception)\b/.test(text)) ?? said.slice(0, 500);
  return { kind: 'crash', message: `the process ended (${code ?? 'by a signal'}): ${line}` };
}

function lastInput(file: string): { begun: number; input: Buffer } {
  try {
    const bytes = readFileSync(file);
    if (bytes.length < HEAD_BYTES) return { begun: 0, input: Buffer.alloc(0) };
    return { begun: bytes.readUInt32LE(0), input: bytes.subarray(HEAD_BYTES, HEAD_BYTES + bytes.readUInt32LE(4)) };
  } catch {
    return { begun: 0, input: Buffer.alloc(0) };
  }
}
