/** Lines for eyes: nothing lost that matters, nothing shown that must not be. */
import { expect, it } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import { createLog } from '../../../src/core/log.ts';
import { prettyLine } from '../../../src/core/pretty.ts';
import { inScope } from '../../../src/core/scope.ts';
import { Secret } from '../../../src/core/secret.ts';

const plain = { isTerminal: false, hasColour: false };

it('says when, how bad, of which run and stage, what, and the rest', () => {
  const line =
    '{"level":40,"time":"2026-11-22T17:02:03.456Z","cluster":"prod","job":"backup","run":"01X","stage":"upload a","store":"b","n":[1],"msg":"not stored"}\n';
  expect(prettyLine(line, plain)).toBe(
    '17:02:03.456  warn   prod backup upload a  not stored  run=01X store=b n=[1]\n',
  );
});

it('shows an error with its code, its message and the next step, below', () => {
  const err = new StrongroomError('E_STORE_FULL', 'no room', { hint: 'make some', details: { free: 3 } }).toJSON();
  const line = JSON.stringify({ level: 50, time: '2026-11-22T17:02:03.456Z', err, msg: 'failed' });
  expect(prettyLine(line, plain).split('\n')).toEqual([
    '17:02:03.456  error  failed',
    '    E_STORE_FULL: no room',
    '    hint: make some',
    '    details: {"free":3}',
    '',
  ]);
});

it('lets nothing that a server said drive the terminal', () => {
  const line = JSON.stringify({ level: 30, msg: 'a\u001b[2Jb\nc', store: '\u009b1m', err: 'x\u0007' });
  expect(prettyLine(line, plain)).not.toMatch(/[^\P{Cc}\n]/u);
  expect(prettyLine(line, plain).split('\n')).toHaveLength(3);
});

it('clears the progress line and has colours only where there is a terminal', () => {
  const line = '{"level":50,"time":"2026-11-22T17:02:03.456Z","msg":"m"}';
  expect(prettyLine(line, { isTerminal: true, hasColour: false })).toBe('\r\u001b[2K17:02:03.456  error  m\n');
  expect(prettyLine(line, { isTerminal: true, hasColour: true })).toContain('\u001b[31merror');
});

it('what is no line of the log comes out as it went in', () => {
  for (const line of ['oops\n', '[1]\n', 'null\n']) expect(prettyLine(line, plain)).toBe(line);
});

it('secrets are cut there, too', async () => {
  let said = '';
  const log = createLog('info', { write: (line: string) => void (said += line) }, 'pretty');
  await inScope({ cluster: 'prod', job: 'backup', run: '01X' }, async () => {
    log.warn({ token: 'hvs.open', at: { password: 'pa55' }, held: new Secret('sesame') }, 'careful');
  });
  expect(said).toMatch(
    /warn {3}prod backup {2}careful {2}run=01X token=\*\*\* at=\{"password":"\*\*\*"\} held=\*\*\*\n$/,
  );
  expect(said).not.toMatch(/hvs\.open|pa55|sesame/);
});
