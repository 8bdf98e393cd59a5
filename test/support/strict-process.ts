/**
 * Preloaded into the CLI by `--import`, in its threads as well: a warning of Node is an error (99), and a process that ends
 * because nothing is left to do says so, with what was still open and how long that took since its last output.
 */
import { writeSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

export const WARNED = 99;

process.on('warning', (warning) => {
  writeSync(2, `strict: ${warning.stack ?? warning.message}\n`);
  process.exit(WARNED);
});

if (isMainThread) {
  let lastOutput = performance.now();
  for (const stream of [process.stdout, process.stderr]) {
    const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
    stream.write = (...args: unknown[]) => {
      lastOutput = performance.now();
      return write(...args);
    };
  }
  process.on('beforeExit', () => {
    const open = process.getActiveResourcesInfo();
    const idleMs = Math.round(performance.now() - lastOutput);
    writeSync(2, `strict: ${JSON.stringify({ open, idleMs })}\n`);
  });
}
