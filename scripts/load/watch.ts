/** What workers say of themselves in their logs, as times and numbers. */
import { setTimeout as delay } from 'node:timers/promises';
import type { LogLine, RunningWorker } from '../../test/support/worker-scene.ts';

const LOOK_MS = 500;

/** When a line was written, in milliseconds since 1970. */
export function timeOf(line: LogLine): number {
  return new Date(line['time'] as string | number).getTime();
}

/** All lines of all workers that say `what`, oldest first. */
export function linesOf(workers: readonly RunningWorker[], what: string): LogLine[] {
  return workers
    .flatMap(({ lines }) => lines.filter(({ msg }) => msg === what))
    .toSorted((a, b) => timeOf(a) - timeOf(b));
}

/** Waits until the workers have said `what` so many times altogether. Rejects when a worker ends before, or after `timeoutMs`. */
export async function saidBy(
  workers: readonly RunningWorker[],
  what: string,
  times: number,
  timeoutMs: number,
): Promise<void> {
  const ended = Promise.race(workers.map(({ finished }) => finished));
  let over = false;
  void ended.then(() => {
    over = true;
  });
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const said = workers.reduce((sum, worker) => sum + worker.count(what), 0);
    if (said >= times) return;
    const complaint = workers.map(({ stderr }) => stderr.slice(-2_000)).join('\n');
    if (over) throw new Error(`a worker ended before "${what}" was said ${times} times\n${complaint}`);
    if (performance.now() > deadline) throw new Error(`"${what}" was said ${said} of ${times} times\n${complaint}`);
    await delay(LOOK_MS);
  }
}
