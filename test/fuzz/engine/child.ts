/** Fuzzes in a process of its own: an endless loop can be ended there, and a full heap takes nothing else along. */
import { openSync, writeSync } from 'node:fs';
import { argv } from 'node:process';
import { Judge } from './judge.ts';
import { cover, search } from './loop.ts';
import { type Answer, HEAD_BYTES, type Job } from './messages.ts';
import { shrink } from './shrink.ts';
import type { Target } from './target.ts';

const running = openSync(argv[2] ?? '', 'w');
const head = Buffer.alloc(HEAD_BYTES);

function announce(input: Buffer): void {
  head.writeUInt32LE(head.readUInt32LE(0) + 1, 0);
  head.writeUInt32LE(input.length, 4);
  writeSync(running, Buffer.concat([head, input]), 0, undefined, 0);
}

process.once('message', (job: Job) => void work(job));
// Whoever started it is gone: nobody would end this one.
process.once('disconnect', () => process.exit());

async function work(job: Job): Promise<void> {
  const module = (await import(job.module)) as Record<string, Target | undefined>;
  const target = module[job.name];
  if (target === undefined) throw new Error(`no fuzz target ${job.name} in ${job.module}`);
  const judge = new Judge(target, announce);
  const corpus = job.corpus.map((bytes) => Buffer.from(bytes));
  try {
    say(await answer(job, target, judge, corpus));
  } finally {
    target.close?.();
  }
}

async function answer(job: Job, target: Target, judge: Judge, corpus: Buffer[]): Promise<Answer> {
  if (job.task === 'cover') return { kept: await cover(target, judge, corpus) };
  const { added, finding, ...report } = await search(target, judge, { ...job.options, corpus });
  if (finding !== null) finding.input = await shrink(judge, finding.input, finding.problem.kind);
  return { report, added, finding };
}

function say(answer: Answer): void {
  process.send?.(answer);
}
