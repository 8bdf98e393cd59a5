/** Writes the pages that the code itself tells: options, error codes, metrics. --check fails where they differ. */
import { readFile, writeFile } from 'node:fs/promises';
import { renderReference } from '../src/config/reference.ts';
import { CODES, EXIT } from '../src/core/errors.ts';
import { renderMetrics } from '../src/observe/metrics.ts';

/** docs/errors.md: every code, by exit code. */
export function renderErrors(): string {
  const names = new Map(Object.entries(EXIT).map(([name, exit]) => [exit as number, name]));
  const rows = Object.entries(CODES)
    .toSorted(([, a], [, b]) => a.exit - b.exit)
    .map(
      ([code, entry]) =>
        `| \`${code}\` | ${entry.exit} (${code.startsWith('E_CHECK_') ? 'strongroom check' : (names.get(entry.exit) ?? '?')}) | ${entry.http} | ${entry.retryable ? 'yes' : 'no'} | ${entry.meaning} |`,
    );
  return [
    '# Errors',
    '',
    'Every failure of strongroom has one of these codes. It is the first word after `error` on standard error, and with',
    '`--json` the field `error.code`. *Again?* says whether the same call may succeed later with nothing changed by hand;',
    'a single failure may know better and say so in `error.retryable`.',
    '',
    '| code | exit code | HTTP | again? | meaning |',
    '|---|---|---|---|---|',
    ...rows,
    '',
    'Exit code 0 means done and proven. This page is generated from the code table by `npm run docs`.',
    '',
  ].join('\n');
}

const PAGES = [
  { file: new URL('../docs/config.md', import.meta.url), render: renderReference },
  { file: new URL('../docs/errors.md', import.meta.url), render: renderErrors },
  { file: new URL('../docs/metrics.md', import.meta.url), render: renderMetrics },
];

if (import.meta.main) {
  const isCheck = process.argv.includes('--check');
  for (const { file, render } of PAGES) {
    const wanted = render();
    const name = file.pathname.split('/').slice(-2).join('/');
    if (isCheck) {
      const found = await readFile(file, 'utf8').catch(() => '');
      if (found === wanted) continue;
      console.error(`${name} is not what the code says: npm run docs`);
      process.exitCode = 1;
    } else {
      await writeFile(file, wanted);
      console.log(`wrote ${name}`);
    }
  }
}
