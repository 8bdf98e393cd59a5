import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { renderErrors } from '../../../scripts/generate-docs.ts';
import { renderReference } from '../../../src/config/reference.ts';
import { CODES, type ErrorCode, EXIT, exitCodeOf, StrongroomError } from '../../../src/core/errors.ts';
import { renderMetrics } from '../../../src/observe/metrics.ts';
import { TOOL_VERSION } from '../../../src/version.ts';

const ROOT = join(import.meta.dirname, '../../..');
const codes = Object.keys(CODES) as ErrorCode[];

/** Codes that the table promises and nothing throws yet. */
const NOT_YET: readonly string[] = [];

async function sources(): Promise<string> {
  const names = await readdir(join(ROOT, 'src'), { recursive: true });
  const files = names.filter((name) => name.endsWith('.ts') && name !== join('core', 'errors.ts'));
  return (await Promise.all(files.map((name) => readFile(join(ROOT, 'src', name), 'utf8')))).join('\n');
}

describe('the code table', () => {
  it.each(codes)('%s has an exit code, an HTTP status and a meaning', (code) => {
    const entry = CODES[code];
    expect(code).toMatch(/^E_[A-Z0-9_]+$/);
    expect(Object.values(EXIT)).toContain(entry.exit);
    expect(entry.exit).not.toBe(EXIT.done);
    expect(entry.http).toBeGreaterThanOrEqual(400);
    expect(entry.meaning).toMatch(/^[^A-Z\s](?:.*[^.])$|^[A-Z0-9]{2,}.*[^.]$|^HTTP/);
    expect(exitCodeOf(new StrongroomError(code, 'x'))).toBe(entry.exit);
  });

  it('has no code that nothing throws', async () => {
    const text = await sources();
    const unused = codes.filter((code) => !text.includes(`'${code}'`));
    expect(unused.filter((code) => !NOT_YET.includes(code))).toEqual([]);
  });

  it('leaves no code out that something throws', async () => {
    const thrown = new Set([...(await sources()).matchAll(/'(E_[A-Z0-9_]+)'/g)].map(([, code]) => code));
    expect([...thrown].filter((code) => code !== undefined && !(code in CODES))).toEqual([]);
  });
});

describe('generated pages', () => {
  it.each([
    ['docs/errors.md', renderErrors],
    ['docs/config.md', renderReference],
    ['docs/metrics.md', renderMetrics],
  ])('%s is what the code says (else: npm run docs)', async (file, render) => {
    expect(await readFile(join(ROOT, file), 'utf8')).toBe(render());
  });

  it('explain every option and every code', () => {
    const rows = renderReference()
      .split('\n')
      .filter((line) => line.startsWith('| `'));
    expect(rows.length).toBeGreaterThan(60);
    const silent = rows.filter(
      (row) => row.endsWith(' |  |') && !row.startsWith('| `method`') && !row.startsWith('| `type`'),
    );
    expect(silent).toEqual([]);
    for (const code of codes) expect(renderErrors()).toContain(`| \`${code}\` |`);
  });
});

it('the version is that of the package', async () => {
  const manifest: unknown = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  expect(manifest).toMatchObject({ version: TOOL_VERSION });
});
