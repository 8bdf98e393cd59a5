/** Short texts that come from people and servers: a config file, durations, sizes, names, keys. */
import { parseConfig } from '../../src/config/load.ts';
import { isError } from '../../src/core/errors.ts';
import { parseClusterName, parseSnapshotId, snapshotTime } from '../../src/core/ids.ts';
import { Secret } from '../../src/core/secret.ts';
import { parseDuration, parseSize } from '../../src/core/units.ts';
import { parseIdentities, recipientKind } from '../../src/crypt/recipients.ts';
import { goDurationMs } from '../../src/vault/go-duration.ts';
import { RECIPIENT, SAMPLE } from '../unit/config/sample.ts';
import { IDENTITY } from './documents.ts';
import { type Target, Violation } from './engine/target.ts';

const words =
  '&a *a << !!binary !!int "\\x" |- >- --- ... %YAML ? : - [ ] { } # 6h 64MiB 1m30s 500ms 1.5d 1e400 .inf 0x10 ~ ' +
  'env: file: version: clusters: destinations: encryption: kms: breakGlass: AGE-SECRET-KEY-1 age1 age1pq1 age1tag1';
const LOG_BOMB = 'a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n';

export const text: Target = {
  maxBytes: 32 * 1024,
  covers: ['/src/config/', '/src/core/units.', '/src/core/ids.', '/src/crypt/recipients.', '/src/vault/go-duration.'],
  codes: ['E_CONFIG_INVALID'],
  maxMessage: Number.POSITIVE_INFINITY,
  tokens: [...words.split(' '), '\n', '\n  ', '\t', '\r\n'].map((word) => Buffer.from(word)),
  seeds: () =>
    [
      SAMPLE,
      LOG_BOMB,
      '1m30s',
      '1.5h',
      '64MiB',
      RECIPIENT,
      IDENTITY.reveal(),
      '01MAF0A800NEWESTNEWESTNEWE',
      '['.repeat(500),
    ].map((seed) => Buffer.from(seed)),
  run: async (input) => {
    const string = input.toString('utf8');
    for (const parse of [readConfig, parseDuration, parseSize, parseClusterName, recipientKind]) {
      checkNumber(await refused(() => parse(string)));
    }
    checkNumber(goDurationMs(string));
    await refused(() => parseIdentities(new Secret(string)));
    const id = parseSnapshotId(string);
    if (id !== null && Number.isNaN(snapshotTime(id).getTime())) throw new Violation('an id without a time');
  },
};

function readConfig(string: string): void {
  try {
    parseConfig(string, '/etc/sr/strongroom.yaml', { env: { HOME: '/home/sr' } });
  } catch (e) {
    if (!isError(e)) throw e;
    const { problems } = e.details as { problems: { line: number; column: number }[] };
    const lines = string.split('\n');
    for (const { line, column } of problems) {
      const isInside = line >= 1 && line <= lines.length && column >= 1 && column <= (lines[line - 1]?.length ?? 0) + 1;
      if (!isInside) throw new Violation(`a mistake at ${line}:${column}, where the file has nothing`);
    }
  }
}

function checkNumber(value: unknown): void {
  if (typeof value === 'number' && !(value >= 0)) throw new Violation(`a duration or size of ${value}`);
}

async function refused(parse: () => unknown): Promise<unknown> {
  try {
    return await parse();
  } catch (e) {
    if (!isError(e, 'E_CONFIG_INVALID')) throw e;
    return null;
  }
}
