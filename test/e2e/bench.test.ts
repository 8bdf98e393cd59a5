/** `npm run bench` still runs, and measures what it says. No timing is judged here. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Run } from '../../scripts/bench/subjects.ts';
import { baseEnv } from '../support/process.ts';

const BENCH = fileURLToPath(new URL('../../scripts/bench.ts', import.meta.url));
const MIB = 2 ** 20;

describe('the benchmark, at its smallest', () => {
  let directory: string;
  let output: { code: number | null; stdout: string; stderr: string };
  let runs: Run[];

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'strongroom-bench-'));
    const json = join(directory, 'bench.json');
    const args = ['--sizes', '1MiB', '--rounds', '1', '--only', 'download,script,buckets,restore', '--json', json];
    const child = spawn(process.execPath, [BENCH, ...args], { env: baseEnv(), stdio: ['ignore', 'pipe', 'pipe'] });
    const [stdout, stderr, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'close') as Promise<[number | null]>,
    ]);
    output = { code, stdout, stderr };
    runs = code === 0 ? (JSON.parse(await readFile(json, 'utf8')) as { runs: Run[] }).runs : [];
  });
  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  it('ends well, with a table for each act', () => {
    expect(output.stderr).not.toContain('Error');
    expect(output.code).toBe(0);
    expect(output.stdout).toContain('| server held |');
    expect(output.stdout).toContain('| serving after |');
    expect(output.stdout).toContain('largest peak RSS');
  });

  it('measures each subject once, with figures that can be true', () => {
    expect(runs.map(({ subject }) => subject)).toEqual(['download', 'script', 'buckets', 'restore']);
    for (const run of runs) {
      expect(run.archiveBytes, run.subject).toBeGreaterThan(MIB);
      expect(run.archiveBytes, run.subject).toBeLessThan(3 * MIB);
      expect(run.wallMs, run.subject).toBeGreaterThan(20);
      expect(run.cpuMs, run.subject).toBeGreaterThan(20);
      // No more than every processor at work all the time; accounting is in ticks.
      expect(run.cpuMs, run.subject).toBeLessThan(run.wallMs * availableParallelism() + 100);
      expect(run.peakRssBytes, run.subject).toBeGreaterThan(20 * MIB);
      expect(run.peakRssBytes, run.subject).toBeLessThan(256 * MIB);
    }
  });

  it('counts every command of the script, and the hold of its first alone', () => {
    const script = runs.find(({ subject }) => subject === 'script');
    expect(script?.commands.map(({ name }) => name)).toEqual(['bao save', 'age', 'aws s3 cp', 'aws s3 cp']);
    expect(script?.heldMs).toBe(script?.commands[0]?.wallMs);
    const cpu = script?.commands.reduce((sum, { cpuMs }) => sum + cpuMs, 0);
    expect(script?.cpuMs).toBeCloseTo(cpu ?? 0, 3);
  });

  it('times a restore until the node serves, which no answer of the server proves', () => {
    const restore = runs.find(({ subject }) => subject === 'restore');
    // The server itself waits 5 s between applying a snapshot and loading its keys.
    expect(restore?.servingMs).toBeGreaterThan(5_000);
    expect(restore?.wallMs).toBeGreaterThan(5_000);
    expect(restore?.timings).toMatchObject({
      settle: expect.any(Number) as number,
      prove: expect.any(Number) as number,
    });
  });
});
