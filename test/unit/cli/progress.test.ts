import { describe, expect, it } from 'vitest';
import { createProgress } from '../../../src/cli/progress.ts';
import { testHost } from './streams.ts';

const MiB = 2 ** 20;

function watched(isTerminal: boolean, json = false) {
  let now = 1_000_000;
  const host = testHost({ isTerminal });
  const progress = createProgress(host, { json }, { now: () => new Date(now) });
  return { host, progress, pass: (ms: number) => (now += ms) };
}

describe('without a terminal', () => {
  it('writes a line at the start, every ten seconds, and at the end', () => {
    const { host, progress, pass } = watched(false);
    const upload = (bytes: number): void => progress.onProgress({ stage: 'upload a', bytes, totalBytes: 100 * MiB });
    upload(0);
    for (let second = 1; second <= 15; second += 1) {
      pass(1000);
      upload(second * 5 * MiB);
    }
    pass(1000);
    upload(100 * MiB);
    upload(100 * MiB);
    expect(host.stderr.text.split('\n')).toEqual([
      'upload a: 0 B of 100.0 MiB (0%)',
      'upload a: 50.0 MiB of 100.0 MiB (50%), 5.00 MiB/s, 10s left',
      'upload a: 100.0 MiB of 100.0 MiB (100%), 6.25 MiB/s',
      '',
    ]);
  });

  it('says every message', () => {
    const { host, progress } = watched(false);
    progress.onProgress({ stage: 'preflight' });
    progress.onProgress({ stage: 'preflight', message: 'bao-0 is active' });
    progress[Symbol.dispose]();
    expect(host.stderr.text).toBe('preflight\npreflight: bao-0 is active\n');
  });
});

describe('on a terminal', () => {
  it('redraws one line, with every stage that is alive, and ends it', () => {
    const { host, progress, pass } = watched(true);
    progress.onProgress({ stage: 'a', bytes: 0, totalBytes: 10 });
    progress.onProgress({ stage: 'b', bytes: 0, totalBytes: 10 });
    const drawn = host.stderr.text;
    pass(50);
    progress.onProgress({ stage: 'a', bytes: 1, totalBytes: 10 });
    expect(host.stderr.text).toBe(drawn);
    pass(60);
    progress.onProgress({ stage: 'a', bytes: 2, totalBytes: 10 });
    expect(host.stderr.text.split('\r\u001b[2K').at(-1)).toBe('a: 2 B of 10 B (20%) | b: 0 B of 10 B (0%)');
    pass(3000);
    progress.onProgress({ stage: 'b', bytes: 5, totalBytes: 10 });
    expect(host.stderr.text.split('\r\u001b[2K').at(-1)).toMatch(/^b: 5 B of 10 B \(50%\)/);
    expect(host.stderr.text).not.toContain('\n');
    progress[Symbol.dispose]();
    progress[Symbol.dispose]();
    expect(host.stderr.text.endsWith('\n')).toBe(true);
    expect(host.stderr.text.match(/\n/g)).toHaveLength(1);
  });

  it('keeps to the width', () => {
    const { host, progress } = watched(true);
    host.stderr.columns = 30;
    progress.onProgress({ stage: 'x'.repeat(60) });
    expect(host.stderr.text.replace('\r\u001b[2K', '')).toBe(`${'x'.repeat(28)}…`);
  });
});

it('is silent in JSON mode', () => {
  const { host, progress } = watched(true, true);
  progress.onProgress({ stage: 'a', message: 'b' });
  progress[Symbol.dispose]();
  expect(host.stderr.text).toBe('');
});
