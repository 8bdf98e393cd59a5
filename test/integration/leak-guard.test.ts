import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { execa } from 'execa';
import { beforeAll, describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '..', '..');
const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
const config = join(root, 'test', 'fixtures', 'leaks', 'vitest.config.ts');

let code: number | undefined;
let output: string;
/** of standard output, which nothing else writes to behind it */
let lastLine: string | undefined;

beforeAll(async () => {
  // Logs of a red run stay on purpose: here they go with the directory.
  const temporary = await mkdtemp(join(tmpdir(), 'strongroom-leaks-'));
  const result = await execa(process.execPath, [vitest, 'run', '--config', config], {
    env: { TMPDIR: temporary, NO_COLOR: '1' },
    all: true,
    reject: false,
  });
  code = result.exitCode;
  output = stripVTControlCharacters(result.all);
  lastLine = stripVTControlCharacters(result.stdout).trimEnd().split('\n').at(-1);
  await rm(temporary, { recursive: true });
});

describe('the leak guard', () => {
  test.each([
    ['server.leak.ts', '1 TCPServerWrap'],
    ['timer.leak.ts', '1 Timeout'],
    ['child.leak.ts', '1 ProcessWrap'],
    ['process.leak.ts', 'process forgotten'],
  ])('fails %s', (file, left) => {
    expect(output).toMatch(new RegExp(`FAIL +${file}[^]{0,80}left open by this test file: ${left}`));
  });

  test('is content with a file that closes what it opens', () => {
    expect(output).toMatch(/✓ none\.leak\.ts/);
  });

  test('shows the log of a server when a test fails', () => {
    expect(output).toContain('last words of the server');
  });
});

test('a run ends with one line of totals, in which a failed file counts', () => {
  expect(lastLine).toBe('5 passed, 5 failed, 1 skipped');
  expect(code).toBe(1);
});
