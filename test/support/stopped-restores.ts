/** Runs of `strongroom restore` that end before they are done, at a place that their own progress tells. */
import { setTimeout as delay } from 'node:timers/promises';
import type { RestoreSite } from './restore-site.ts';
import type { CliResult } from './strongroom-cli.ts';

/** In their order; `start` is everything before the first byte of the snapshot. */
export const STAGES = ['start', 'fetch', 'verify', 'look', 'safety', 'install', 'settle', 'prove'] as const;
export type Stage = (typeof STAGES)[number];

/** How the first line of each stage begins on standard error. */
const LINES: readonly (readonly [RegExp, Stage])[] = [
  [/^download /, 'fetch'],
  [/^verify/, 'verify'],
  [/^look(?: at the target)?:/, 'look'],
  [/^(?:safety:|preflight|snapshot:|upload )/, 'safety'],
  [/^install:/, 'install'],
  [/^settle/, 'settle'],
  [/^prove:/, 'prove'],
];

/** A share of a stage, from 0 to 1. */
export type Moment = { stage: Stage; share: number };

export type Ran = CliResult & {
  /** the stage that its last line told */
  reached: Stage;
};

/** How long stages last, in milliseconds: as the runs before have shown. A run that goes on has stages of its own length. */
export class Spans {
  readonly #ms = new Map<string, number>();

  note(kind: string, stage: Stage, ms: number): void {
    this.#ms.set(`${kind} ${stage}`, ms);
  }

  /** Of any kind of run when this kind has not come so far yet. */
  of(kind: string, stage: Stage): number {
    return this.#ms.get(`${kind} ${stage}`) ?? [...this.#ms].find(([key]) => key.endsWith(` ${stage}`))?.[1] ?? 0;
  }
}

/** Runs a restore and kills it at `moment`; to its end when there is none, or when the end comes first. */
export async function runUntil(site: RestoreSite, moment: Moment | null, spans: Spans): Promise<Ran> {
  const kind = (await site.note()) === null ? 'fresh' : 'resumed';
  const over = new AbortController();
  let reached: Stage = 'start';
  let since = performance.now();
  let isAimed = false;
  let pending = '';
  const enter = (stage: Stage): void => {
    spans.note(kind, reached, performance.now() - since);
    reached = stage;
    since = performance.now();
    aim();
  };
  const onStderr = (text: string): void => {
    const lines = (pending + text).split('\n');
    pending = lines.pop() ?? '';
    for (const line of lines) {
      const stage = LINES.find(([pattern]) => pattern.test(line))?.[1];
      if (stage !== undefined && stage !== reached) enter(stage);
    }
  };
  const running = site.start([], { onStderr });
  const aim = (): void => {
    if (moment === null || isAimed || reached !== moment.stage) return;
    isAimed = true;
    void delay(moment.share * spans.of(kind, reached), undefined, { signal: over.signal }).then(
      () => running.child.kill('SIGKILL'),
      () => undefined,
    );
  };
  aim();
  const result = await running.finished;
  over.abort();
  if (result.signal === null) spans.note(kind, reached, performance.now() - since);
  return { ...result, reached };
}
