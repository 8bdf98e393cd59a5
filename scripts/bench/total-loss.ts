/** From the kill of every node to every secret read from the cluster that came back. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { Act } from '../quickstart/stage.ts';

const CHILD = fileURLToPath(new URL('./child-total-loss.ts', import.meta.url));

export type TotalLoss = {
  /** all acts together, in milliseconds */
  ms: number;
  acts: Act[];
};

/** Runs the quickstart's disaster once, in a process whose talk goes to our standard error. */
export async function measureTotalLoss(): Promise<TotalLoss> {
  const child = spawn(process.execPath, [CHILD], { stdio: ['ignore', 2, 2, 'pipe'] });
  const closed = once(child, 'close') as Promise<[number | null]>;
  const [figures, [code]] = await Promise.all([text(child.stdio[3] as Readable), closed]);
  if (code !== 0) throw new Error(`the total loss ended with ${String(code)}`);
  return JSON.parse(figures) as TotalLoss;
}
