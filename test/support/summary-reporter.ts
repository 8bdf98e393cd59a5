/** The last line of a test run, and the fate of the servers' logs. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Reporter, SerializedError, TestModule } from 'vitest/node';

export class SummaryReporter implements Reporter {
  #logs: string | undefined;

  onInit(): void {
    this.#logs = mkdtempSync(join(tmpdir(), 'strongroom-logs-'));
    process.env['STRONGROOM_TEST_LOGS'] = this.#logs;
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const { passed, failed, skipped } = summarise(modules, unhandled.length);
    if (failed === 0 && this.#logs) rmSync(this.#logs, { recursive: true, force: true });
    else process.stderr.write(`logs of the servers: ${this.#logs}\n`);
    process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  }
}

/**
 * A file that fails outside its tests (import, hook, leak) counts as one failed test, and so does an unhandled error:
 * the line never says "0 failed" of a run that exits with 1.
 */
function summarise(modules: readonly TestModule[], unhandled: number) {
  const counts = { passed: 0, failed: unhandled, skipped: 0, pending: 0 };
  for (const module of modules) {
    let inTests = 0;
    for (const test of module.children.allTests()) {
      const { state } = test.result();
      counts[state] += 1;
      if (state === 'failed') inTests += 1;
    }
    if (module.state() === 'failed' && inTests === 0) counts.failed += 1;
  }
  return { ...counts, failed: counts.failed + counts.pending };
}
