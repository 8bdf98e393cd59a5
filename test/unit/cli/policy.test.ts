import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../../../src/cli/app.ts';
import { modeOf } from '../../../src/cli/host.ts';
import { isError } from '../../../src/core/errors.ts';
import { KEYS, PLAIN, RICH } from '../policy/configs.ts';
import { testHost } from './streams.ts';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'policy-cli-'));
  await writeFile(join(folder, 'plain.yaml'), PLAIN);
  await writeFile(join(folder, 'rich.yaml'), RICH);
  const directory = PLAIN.replace(/ {2}primary: .*/, '  primary: { type: directory, path: x }');
  await writeFile(
    join(folder, 'folder.yaml'),
    directory
      .replace(/kms: \[.*?\], /, 'kms: [], minKmsWraps: 0, declineKms: there is none in this test, ')
      .replace(
        /minBreakGlass.*?test /,
        'breakGlass: [age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq] ',
      ),
  );
});
afterAll(() => rm(folder, { recursive: true }));

async function policy(config: string, ...args: string[]): Promise<{ out: string; err: string }> {
  const host = testHost({ cwd: folder });
  const argv = ['policy', ...args, '--config', join(folder, `${config}.yaml`)];
  await runCli(argv, host, modeOf(argv, {}));
  return { out: host.stdout.text, err: host.stderr.text };
}

/** `message; hint` of the E_USAGE. */
async function refusal(config: string, ...args: string[]): Promise<string> {
  const failure = await policy(config, ...args).catch((e: unknown) => e);
  if (!isError(failure)) throw new Error('it was not refused');
  expect([failure.code, failure.message]).toEqual(['E_USAGE', expect.any(String)]);
  return `${failure.message}; ${failure.hint ?? ''}`;
}

describe('standard output is the document, and nothing else', () => {
  it.each([
    ['iam', []],
    ['iam', ['--for', 'prune']],
    ['s3', []],
    ['s3', ['--grant', 'backup=arn:aws:iam::1:role/b', '--grant', 'prune=arn:aws:iam::1:role/p']],
    ['kms', []],
    ['s3-lifecycle', []],
    ['s3-lifecycle', ['--expire-after', '90d']],
  ])('policy %s %j', async (command, args) => {
    const { out, err } = await policy('plain', command, ...args);
    const document: unknown = JSON.parse(out);
    expect(document).toHaveProperty(command === 's3-lifecycle' ? 'Rules' : 'Statement');
    expect(err).toContain('apply: aws ');
    const json = await policy('plain', command, ...args, '--json');
    expect(JSON.parse(json.out)).toMatchObject({ documents: [{ document }] });
    expect(json.err).toBe('');
  });

  it('policy vault', async () => {
    const { out, err } = await policy('plain', 'vault');
    expect(out).toMatch(/^# strongroom backup, cluster prod/);
    expect(out.endsWith('}\n')).toBe(true);
    expect(err).toContain('bao policy write strongroom-backup');
    expect((await policy('plain', 'vault', '--for', 'restore')).out).toContain('snapshot-force');
    expect(out).not.toContain('snapshot-force');
  });

  it('what to mind is on standard error, and with --json beside the document', async () => {
    const args = ['kms', '--key', KEYS.seal, '--grant', 'backup=arn:b'];
    const { err } = await policy('rich', ...args);
    expect(err).toContain('never replace it');
    expect(err).toContain('add to: aws kms get-key-policy');
    expect(err).not.toContain('put-key-policy');
    const { documents } = JSON.parse((await policy('rich', ...args, '--json')).out) as {
      documents: { cautions: string[] }[];
    };
    expect(documents[0]?.cautions.join()).toContain('never replace it');
  });
});

describe('which one', () => {
  it('is asked where there are several', async () => {
    expect(await refusal('rich', 'vault')).toContain('--cluster prod | test');
    expect(await refusal('rich', 'iam')).toContain('--cluster prod | test');
    expect(await refusal('rich', 's3')).toContain('--destination primary | second');
    expect(await refusal('rich', 's3-lifecycle')).toContain('--destination primary | second');
    expect(await refusal('rich', 'kms')).toContain(KEYS.dublin);
  });

  it('with --json is all of them', async () => {
    const all = async (...args: string[]) =>
      (JSON.parse((await policy('rich', ...args, '--json')).out) as { documents: Record<string, unknown>[] }).documents;
    expect((await all('vault')).map(({ cluster }) => cluster)).toEqual(['prod', 'test']);
    expect((await all('iam')).map(({ cluster }) => cluster)).toEqual(['prod', 'test']);
    expect((await all('s3')).map(({ bucket }) => bucket)).toEqual(['backups-a', 'backups-b']);
    expect(await all('kms')).toHaveLength(5);
    expect(await all('iam', '--cluster', 'test')).toHaveLength(1);
  });

  it('is found by its name, and a slip is told', async () => {
    expect((await policy('rich', 'kms', '--key', KEYS.dublin.split('/')[1] ?? '')).err).toContain(KEYS.dublin);
    expect(await refusal('rich', 's3', '--destination', 'primry')).toContain('did you mean primary?');
    expect(await refusal('rich', 's3', '--destination', 'folder')).toContain('is a directory');
    expect(await refusal('rich', 'kms', '--key', `${KEYS.dublin.slice(0, -1)}x`)).toContain(
      `did you mean ${KEYS.dublin}`,
    );
    await expect(policy('rich', 'vault', '--cluster', 'prd')).rejects.toMatchObject({ hint: 'did you mean prod?' });
    await expect(policy('rich', 'iam', '--for', 'bakcup')).rejects.toThrow(/backup/);
  });

  it('is none where nothing is on S3', async () => {
    expect(await refusal('folder', 's3')).toContain('no destination on S3');
    expect(await refusal('folder', 'kms')).toContain('no KMS key');
    expect(await refusal('folder', 'iam')).toContain('needs nothing of AWS');
  });
});

it.each([
  ['backup', 'names nobody'],
  ['backup=', 'names nobody'],
  ['backup=a b', 'names nobody'],
  ['backup=*', 'would be for everybody'],
  ['bakcup=arn:x', 'did you mean backup?'],
])('refuses --grant %j', async (grant, why) => {
  expect(await refusal('plain', 's3', '--grant', grant)).toContain(why);
});

it.each(['90', '36h', '0d', 'x'])('refuses --expire-after %s', async (value) => {
  expect(await refusal('plain', 's3-lifecycle', '--expire-after', value)).toContain('write whole days');
});

it('leaves the conditions out where they are not known', async () => {
  expect((await policy('plain', 's3')).out).toContain('s3:if-none-match');
  expect((await policy('plain', 's3', '--no-write-once')).out).not.toContain('s3:if-none-match');
});
