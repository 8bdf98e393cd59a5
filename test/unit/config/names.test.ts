import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { advise } from '../../../src/config/advice.ts';
import { chooseCluster, clusterConfig, readRecipients } from '../../../src/config/cluster-config.ts';
import { NAME } from '../../../src/config/fields.ts';
import { findConfig } from '../../../src/config/find.ts';
import { TextRef } from '../../../src/config/secret.ts';
import { nearest } from '../../../src/config/suggest.ts';
import { parseClusterName } from '../../../src/core/ids.ts';
import { OTHER_ARN, OTHER_RECIPIENT, parse, RECIPIENT, SAMPLE, sample } from './sample.ts';

const SECOND = `  prod-us-1:
    nodes: [http://127.0.0.1:8200]
    auth: { method: token, token: env:VAULT_TOKEN }
    destinations: [vaulted]
    encryption: { breakGlass: [${OTHER_RECIPIENT}] }
`;

describe('one cluster', () => {
  it('comes with its destinations and its own encryption', () => {
    const cluster = clusterConfig(parse(SAMPLE + SECOND), 'prod-us-1');
    expect(cluster.name).toBe('prod-us-1');
    expect(cluster.destinations).toEqual([{ name: 'vaulted', options: { type: 'directory', path: '/etc/sr/airgap' } }]);
    expect(cluster.encryption.kms).toHaveLength(1);
    expect(cluster.encryption.breakGlass.map(({ source }) => source)).toEqual([OTHER_RECIPIENT]);
  });

  it('is asked for by its exact name', () => {
    const config = parse(SAMPLE + SECOND);
    expect(() => clusterConfig(config, 'prod-eu-2')).toThrow(
      expect.objectContaining({
        code: 'E_CONFIG_INVALID',
        message: 'no cluster "prod-eu-2" in /etc/sr/strongroom.yaml',
        hint: 'did you mean prod-eu-1?',
      }),
    );
    expect(() => clusterConfig(config, 'xyz')).toThrow(
      expect.objectContaining({ hint: 'known clusters: prod-eu-1, prod-us-1' }),
    );
    expect(() => clusterConfig(config, 'constructor')).toThrow(expect.objectContaining({ code: 'E_CONFIG_INVALID' }));
  });

  it('may be left unnamed only where it is the only one', () => {
    expect(chooseCluster(parse(SAMPLE), undefined).name).toBe('prod-eu-1');
    expect(() => chooseCluster(parse(SAMPLE + SECOND), undefined)).toThrow(
      expect.objectContaining({ code: 'E_USAGE' }),
    );
  });

  it('has a name exactly where the ids of core say so', () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^[a-z0-9-]{1,65}$/));
    fc.assert(
      fc.property(text, (name) => {
        const isName = ((): boolean => {
          try {
            return parseClusterName(name) === name;
          } catch {
            return false;
          }
        })();
        expect(NAME.test(name)).toBe(isName);
      }),
    );
  });
});

it('recipients are read as age -R reads them', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'recipients-'));
  try {
    await writeFile(join(folder, 'r.txt'), `# first\n${RECIPIENT}\n\n  ${OTHER_RECIPIENT}  \r\n`);
    const ref = new TextRef('file:r.txt');
    ref.bind({ directory: folder, env: {}, warn: () => undefined }, 'x');
    expect(await readRecipients([ref], new AbortController().signal)).toEqual([RECIPIENT, OTHER_RECIPIENT]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

describe('the file', () => {
  it('is the named one, even if it is not there', async () => {
    expect(await findConfig('a.yaml', { env: { STRONGROOM_CONFIG: 'b.yaml' }, cwd: '/' })).toBe('a.yaml');
    expect(await findConfig(undefined, { env: { STRONGROOM_CONFIG: 'b.yaml' }, cwd: '/' })).toBe('b.yaml');
  });

  it('is looked for in the working folder', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'find-'));
    try {
      const nowhere = findConfig(undefined, { env: {}, cwd: folder });
      await expect(nowhere).rejects.toThrow(
        'no config: neither strongroom.yaml here nor /etc/strongroom/strongroom.yaml',
      );
      await writeFile(join(folder, 'strongroom.yaml'), SAMPLE);
      expect(await findConfig(undefined, { env: { STRONGROOM_CONFIG: '' }, cwd: folder })).toBe(
        join(folder, 'strongroom.yaml'),
      );
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

it.each([
  ['regoin', 'region'],
  ['maxbytes', 'maxBytes'],
  ['max-bytes', 'maxBytes'],
  ['Level', 'level'],
  ['zzz', null],
  ['', null],
])('"%s" means %s', (typed, meant) => {
  expect(nearest(typed, ['region', 'maxBytes', 'level'])).toBe(meant);
});

describe('advice', () => {
  it.each([
    ['certificates are not verified', `${SAMPLE}    tls: { dangerouslySkipVerification: true }\n`],
    ['cross the network in the clear', sample('https://bao-0', 'http://bao-0')],
    ['one copy only', sample('[primary, vaulted]', '[primary]')],
    ['destinations.vaulted: no cluster uses it', sample('[primary, vaulted]', '[primary]')],
    ['its KMS keys are in one region', SAMPLE],
    ['one break-glass recipient', SAMPLE],
    [
      'each is behind SSE-KMS',
      sample('region: eu-central-1', 'region: eu-central-1\n    sse: { type: aws:kms }').replace(', vaulted]', ']'),
    ],
  ])('%s', (line, text) => {
    expect(advise(parse(text)).filter((advice) => advice.includes(line))).toHaveLength(1);
  });

  it('is silent where there is nothing to say', () => {
    const text = sample(' }]\n', ` }, { keyId: ${OTHER_ARN} }]\n`).replace(
      RECIPIENT,
      `${RECIPIENT}, ${OTHER_RECIPIENT}`,
    );
    expect(advise(parse(text))).toEqual([]);
  });
});
