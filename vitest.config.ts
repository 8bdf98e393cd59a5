import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { SummaryReporter } from './test/support/summary-reporter.ts';

const setupFiles = ['./test/support/leak-guard.ts'];
const globalSetup = ['./test/support/global-setup.ts'];

// Most tests wait for servers most of the time: with two files of each kind at a time two processors have enough to do, and clusters
// still hold their elections in time.
const WITH_SERVERS = 2;

export default defineConfig({
  test: {
    reporters: ['default', new SummaryReporter()],
    silent: 'passed-only',
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          setupFiles,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          maxWorkers: Math.max(2, availableParallelism() - 1),
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          setupFiles,
          globalSetup,
          testTimeout: 900_000,
          hookTimeout: 600_000,
          maxWorkers: WITH_SERVERS,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          setupFiles,
          globalSetup,
          testTimeout: 900_000,
          hookTimeout: 600_000,
          maxWorkers: WITH_SERVERS,
        },
      },
    ],
  },
});
