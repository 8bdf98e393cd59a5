import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../../src/config/load.ts';
import { complaints, KEY_ARN, parse, RECIPIENT, SAMPLE, sample } from './sample.ts';

describe('a good config', () => {
  it('gets its defaults, with durations in milliseconds and sizes in bytes', () => {
    const config = parse(SAMPLE);
    expect(config.spool).toEqual({
      directory: '/home/sr/.local/state/strongroom/spool',
      maxBytes: 20 * 2 ** 30,
      reserveBytes: 512 * 2 ** 20,
    });
    expect(config.log.level).toBe('info');
    expect(config.destinations['primary']).toMatchObject({
      prefix: '',
      forcePathStyle: false,
      checksum: 'sha256',
      conditionalWrites: true,
      tags: {},
    });
    expect(config.encryption).toMatchObject({ minKmsWraps: 1, minBreakGlass: 1, identities: [] });
    expect(config.encryption.kms).toEqual([{ keyId: KEY_ARN, region: 'eu-central-1' }]);
    expect(config.clusters['prod-eu-1']).toMatchObject({
      nodes: ['https://bao-0:8200', 'https://bao-1:8200'],
      prove: 'checksum',
      writePolicy: { copies: 2, of: 2 },
      backup: { attempts: 3, snapshotTimeout: 1_800_000, maxFall: 0.5, warnFall: 0.2 },
      tls: { dangerouslySkipVerification: false },
    });
  });

  it('starts relative paths at the folder of the file, and puts the spool where XDG says', () => {
    expect(parse(SAMPLE).destinations['vaulted']).toEqual({ type: 'directory', path: '/etc/sr/airgap' });
    expect(parse(sample('path: airgap', 'path: ~/airgap')).destinations['vaulted']).toMatchObject({
      path: '/home/sr/airgap',
    });
    expect(parse(SAMPLE, { XDG_STATE_HOME: '/state' }).spool.directory).toBe('/state/strongroom/spool');
    expect(parse(SAMPLE, { XDG_STATE_HOME: 'not/absolute' }).spool.directory).toBe(
      '/home/sr/.local/state/strongroom/spool',
    );
    expect(parse(`spool: { directory: ../spool }\n${SAMPLE}`).spool.directory).toBe('/etc/spool');
  });

  it.each([
    ['', 2],
    ['writePolicy: all', 2],
    ['writePolicy: quorum', 2],
    ['writePolicy: { quorum: 1 }', 1],
  ])('needs so many copies of two under "%s": %i', (policy, copies) => {
    expect(parse(`${SAMPLE}    ${policy}\n`).clusters['prod-eu-1']?.writePolicy).toEqual({ copies, of: 2 });
  });

  it('takes anchors and aliases', () => {
    const text = sample('region: eu-central-1', 'region: &region eu-central-1').replace(
      'path: airgap',
      'path: *region',
    );
    expect(parse(text).destinations['vaulted']).toMatchObject({ path: '/etc/sr/eu-central-1' });
  });
});

describe('complaints', () => {
  it('say line, column, option, what is wrong and what to do', () => {
    expect(complaints(sample('region: eu-central-1', 'regoin: eu-central-1'))).toEqual([
      '3:3 destinations.primary.region: is missing; add it (AWS region; any word for stores that have none)',
      '6:5 destinations.primary.regoin: unknown option; did you mean region?',
    ]);
  });

  it.each([
    [
      'log: { level: dbug }',
      '1:15 log.level: not known; did you mean debug? (trace, debug, info, warn, error, fatal, silent)',
    ],
    ['spool: { maxBytes: 20 }', '1:20 spool.maxBytes: not a size; write a number and a unit, such as 512MiB or 20GB'],
    ['spool: { maxbytes: 20GiB }', '1:10 spool.maxbytes: unknown option; did you mean maxBytes?'],
    ['spool: { zzz: 1 }', '1:10 spool.zzz: unknown option; known here: directory, maxBytes, reserveBytes'],
    ['spool: []', '1:1 spool: not a block; write options below it, indented'],
    ['spool:', '1:1 spool: is empty; fill it or delete the line'],
  ])('for "%s": %s', (line, complaint) => {
    expect(complaints(`${line}\n${SAMPLE}`)).toEqual([complaint]);
  });

  it.each([
    ['type: s3', 'type: s4', '4:11 destinations.primary.type: not known; did you mean s3? (s3, directory)'],
    ['method: token', 'method: tokn', /16:21 clusters\.prod-eu-1\.auth\.method: not known; did you mean token\?/],
    [
      '    auth: { method: token, token: env:VAULT_TOKEN }\n',
      '',
      '14:3 clusters.prod-eu-1.auth: is missing; add it (how to log in)',
    ],
    ['method: token, ', '', /clusters\.prod-eu-1\.auth\.method: is missing; write one of token, approle/],
    ['version: 1', 'version: 2', '1:10 version: not known; write 1'],
    ['version: 1', 'version: "1"', '1:10 version: not known; write 1'],
    [
      KEY_ARN,
      'arn:aws:kms:eu-central-1:123456789012:alias/x',
      /10:18 encryption\.kms\[0\]\.keyId: an alias can be moved/,
    ],
    [KEY_ARN, 'alias/x', /encryption\.kms\[0\]\.keyId: an alias can be moved/],
    [KEY_ARN, '1234abcd-12ab-34cd-56ef-1234567890ab', /encryption\.kms\[0\]\.keyId: not the full ARN/],
    [RECIPIENT, 'age1yubikey1qqqqqqqqqqqqqqqqqqqqqqqqqqqqq', /encryption\.breakGlass\[0\]: not an age recipient/],
    ['https://bao-0:8200', 'bao-0:8200', /nodes\[0\]: not the address of a node; write https:/],
    ['https://bao-0:8200', 'https://user:pw@bao-0:8200', /nodes\[0\]: not the address of a node/],
    ['https://bao-0:8200', 'https://bao-0:8200/v1', /nodes\[0\]: not the address of a node/],
    ['https://bao-0:8200', 'https://bao-1:8200', /nodes\[1\]: stands here twice/],
    ['[primary, vaulted]', '[]', /destinations: an empty list; add an entry/],
    [
      '  prod-eu-1:',
      '  Prod_EU:',
      '14:3 clusters.Prod_EU: not the name of a cluster; write lower-case letters, digits and inner dashes, at most 63',
    ],
    ['bucket: backups-a', 'bucket: Backups_A', /5:13 destinations\.primary\.bucket: not a bucket name/],
    ['region: eu-central-1', 'region: eu-central-1\n    storageClass: GLACIER', /storageClass: takes hours/],
    ['region: eu-central-1', 'region: eu-central-1\n    prefix: /a', /prefix: begins with a slash/],
    [
      'region: eu-central-1',
      'region: eu-central-1\n    objectLock: { mode: governance, keep: 0d }',
      /keep: no time at all/,
    ],
  ])('where %s is %s', (from, to, complaint) => {
    const lines = complaints(sample(from, to));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toEqual(complaint instanceof RegExp ? expect.stringMatching(complaint) : complaint);
  });

  it('come all at once, in the order of the file, whatever else is wrong', () => {
    const text = sample('version: 1', 'version: 2')
      .replace('path: airgap', 'pth: airgap')
      .replace('[primary, vaulted]', '[primry, vaulted]')
      .replace(`breakGlass: [${RECIPIENT}]`, 'minBreakGlass: 0')
      .replace('signing: { key: file:signing.pem }', 'signing: {}');
    expect(complaints(text).map((line) => line.split(' ').slice(0, 2).join(' '))).toEqual([
      '1:10 version:',
      '8:3 destinations.vaulted.path:',
      '8:31 destinations.vaulted.pth:',
      '11:18 encryption.minBreakGlass:',
      '12:1 signing:',
      '17:20 clusters.prod-eu-1.destinations[0]:',
    ]);
  });

  it('carry the problems as data too', () => {
    const text = sample('region: eu-central-1', 'regoin: x');
    expect(() => parse(text)).toThrow(
      expect.objectContaining({
        code: 'E_CONFIG_INVALID',
        details: {
          problems: [
            expect.objectContaining({ line: 3, column: 3, path: 'destinations.primary.region' }),
            {
              file: '/etc/sr/strongroom.yaml',
              line: 6,
              column: 5,
              path: 'destinations.primary.regoin',
              message: 'unknown option; did you mean region?',
            },
          ],
        },
      }),
    );
  });
});

describe('YAML that is none', () => {
  it.each([
    ['version: 1\n  bad: : indent', /^1:10: nested mappings/],
    ['a: [1, 2', /^1:9: /],
    ['version: 1\nversion: 1\n', '2:1: the key stands here twice; delete one'],
    ['a: 1\n---\nb: 2\n', /^2:1: a second document begins/],
    ['a: *hunter2\n', /^1:4: an alias \(\*name\) without its anchor/],
  ])('is told with its place: %j', (text, complaint) => {
    expect(complaints(text)[0]).toEqual(complaint instanceof RegExp ? expect.stringMatching(complaint) : complaint);
  });

  it('is told with its place on every line, also behind a first mistake', () => {
    expect(complaints(': ]\nG*\ns:').map((line) => line.split(' ')[0])).toEqual(['1:3:', '2:1:', '3:2:']);
  });

  it('is told when there is nothing at all', () => {
    expect(complaints('')).toEqual(['1:1: is empty; fill it or delete the line']);
  });

  it('lets a thousand clusters share a block by its anchor', () => {
    const lines = ['a: &a { x: 1 }', ...Array.from({ length: 1_000 }, (_, i) => `b${i}: *a`)];
    expect(complaints(lines.join('\n')).filter((line) => line.includes('aliases'))).toEqual([]);
  });

  it('does not blow up', () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
    const lines = names.map(
      (name, i) =>
        `${name}: &${name} [${Array(9)
          .fill(i === 0 ? 'x' : `*${names[i - 1]}`)
          .join(',')}]`,
    );
    expect(complaints(lines.join('\n'))).toEqual(['1:1: the aliases (*name) stand for too much; write it out']);
  });
});

describe('a secret in the file', () => {
  const planted = 'hunter2hunter2';
  it.each([
    sample('env:VAULT_TOKEN', planted),
    sample('env:SK', planted),
    sample('env:SK', `{ nested: ${planted} }`),
    sample('env:SK', `[${planted}]`),
    sample('file:signing.pem', `"-----BEGIN PRIVATE KEY-----${planted}"`),
    sample(RECIPIENT, `AGE-SECRET-KEY-1${planted}`),
    sample('env:VAULT_TOKEN', `"x" ${planted}`),
    sample('env:VAULT_TOKEN', `*${planted}`),
    sample('env:VAULT_TOKEN', `!${planted} x`),
    sample('env:VAULT_TOKEN', `@${planted}`),
    sample('env:VAULT_TOKEN', `"${planted}`),
    sample('env:VAULT_TOKEN', `[${planted}`),
    sample('env:VAULT_TOKEN', `"\\q${planted}"`),
    sample('env:VAULT_TOKEN }', `env:VAULT_TOKEN } ${planted}`),
    sample('https://bao-0:8200', `https://root:${planted}@bao-0:8200`),
  ])('is refused and not repeated (%#)', (text) => {
    const lines = complaints(text);
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.join('\n')).not.toContain(planted);
    try {
      parse(text);
    } catch (e) {
      expect(JSON.stringify(e)).not.toContain(planted);
    }
  });
});

describe('the file itself', () => {
  it('is named when it cannot be read, or is something else', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'config-'));
    try {
      await expect(loadConfig(join(folder, 'none.yaml'), { env: {} })).rejects.toMatchObject({
        code: 'E_CONFIG_INVALID',
        message: `${join(folder, 'none.yaml')} cannot be read (ENOENT)`,
      });
      await expect(loadConfig(folder, { env: {} })).rejects.toMatchObject({ code: 'E_CONFIG_INVALID' });
      await expect(loadConfig('/dev/zero', { env: {} })).rejects.toMatchObject({
        message: '/dev/zero cannot be read (larger than 1 MiB)',
      });
      await writeFile(join(folder, 'good.yaml'), SAMPLE);
      await expect(loadConfig(join(folder, 'good.yaml'), { env: {} })).resolves.toMatchObject({
        file: join(folder, 'good.yaml'),
      });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
