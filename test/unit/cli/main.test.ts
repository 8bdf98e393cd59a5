import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Secret } from '../../../src/core/secret.ts';
import { parseIdentities, recipientOf } from '../../../src/crypt/recipients.ts';
import { localSigner, verifySignature } from '../../../src/crypt/sign.ts';
import { SAMPLE } from '../config/sample.ts';

const MAIN = join(import.meta.dirname, '../../../src/main.ts');
let folder: string;
let good: string;
let bad: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'main-'));
  good = join(folder, 'good.yaml');
  bad = join(folder, 'bad.yaml');
  await writeFile(good, SAMPLE);
  await writeFile(bad, SAMPLE.replace('region: eu-central-1', 'regoin: eu-central-1').replace('env:SK', 'planted'));
});
afterAll(() => rm(folder, { recursive: true }));

type Ended = { code: number | null; stdout: string; stderr: string };

function strongroom(args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { env: { PATH: process.env['PATH'], HOME: folder, ...env }, cwd: folder };
    const child = execFile(process.execPath, [MAIN, ...args], options, (_e, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}

describe('the command line', () => {
  it('prints the version', async () => {
    const [text, json, flag] = await Promise.all([
      strongroom(['version']),
      strongroom(['version', '--json']),
      strongroom(['--version']),
    ]);
    expect(text).toMatchObject({ code: 0, stderr: '' });
    expect(text.stdout).toMatch(/^strongroom \d+\.\d+\.\d+ \(Node\.js 24/);
    expect(JSON.parse(json.stdout)).toMatchObject({ name: 'strongroom', layout: 'v1' });
    expect(flag.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it('ends with 2 and a suggestion for what it does not know', async () => {
    const [command, flag, missing, none] = await Promise.all([
      strongroom(['confg', 'check']),
      strongroom(['config', 'check', '--jsno']),
      strongroom(['keys', 'generate']),
      strongroom(['constructor']),
    ]);
    expect(command).toEqual({
      code: 2,
      stdout: '',
      stderr: 'error E_USAGE: no command "confg"\n  hint: did you mean `config`?\n',
    });
    expect(flag).toMatchObject({ code: 2, stdout: '' });
    expect(flag.stderr).toContain('--jsno, did you mean --json?');
    expect(missing).toMatchObject({ code: 2, stdout: '' });
    expect(missing.stderr).toContain('--output');
    expect(none).toMatchObject({ code: 2, stdout: '' });
  });

  it('lists the exit codes in the help of a command', async () => {
    const { code, stdout } = await strongroom(['config', 'check', '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('EXIT CODES');
    expect(stdout).toMatch(/ 15 {2}the config is not usable/);
    expect(stdout).toContain('--json');
  });

  it('loads nothing heavy to print its help', async () => {
    const hook = `import { registerHooks } from 'node:module'; registerHooks({ load(url, context, next) {
      process.stderr.write(url + '\\n'); return next(url, context); } });`;
    const { code, stderr } = await strongroom(['--help'], {
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hook)}`,
    });
    expect(code).toBe(0);
    const packages = new Set([...stderr.matchAll(/node_modules\/((?:@[^/]+\/)?[^/]+)/g)].map(([, name]) => name));
    expect([...packages]).toEqual(['@stricli/core']);
  });
});

describe('config check', () => {
  const env = { AK: 'a', SK: 'planted', VAULT_TOKEN: 'planted' };

  it('says yes to a good file, and counts what it refers to', async () => {
    await writeFile(join(folder, 'signing.pem'), 'pem', { mode: 0o600 });
    const [text, json, unread] = await Promise.all([
      strongroom(['config', 'check', '--config', good], env),
      strongroom(['config', 'check', '--json'], { ...env, STRONGROOM_CONFIG: good }),
      strongroom(['config', 'check', '--no-resolve', '-c', 'good.yaml']),
    ]);
    expect(text).toMatchObject({ code: 0, stderr: '' });
    expect(text.stdout).toContain('all 5 lead to a value');
    expect(JSON.parse(json.stdout)).toMatchObject({ valid: true, clusters: ['prod-eu-1'], referencesRead: 5 });
    expect(unread.code).toBe(0);
    for (const { stdout, stderr } of [text, json]) expect(stdout + stderr).not.toContain('planted');
  });

  it('says no with 15 and every place', async () => {
    const { code, stdout, stderr } = await strongroom(['config', 'check', '-c', bad]);
    expect({ code, stdout }).toEqual({ code: 15, stdout: '' });
    expect(stderr.split('\n')).toEqual([
      `error E_CONFIG_INVALID: 3 mistakes in ${bad}`,
      `  ${bad}:3:3 destinations.primary.region: is missing; add it (AWS region; any word for stores that have none)`,
      `  ${bad}:6:5 destinations.primary.regoin: unknown option; did you mean region?`,
      `  ${bad}:7:58 destinations.primary.credentials.secretAccessKey: a secret in plain text; write env:NAME or file:/path, and put the secret there`,
      '  hint: correct the file, then: strongroom config check',
      '',
    ]);
  });

  it('says which references lead nowhere', async () => {
    const { code, stderr } = await strongroom(['config', 'check', '-c', good], { AK: 'a', VAULT_TOKEN: 't' });
    expect(code).toBe(15);
    expect(stderr).toContain(`${good}:7:58 destinations.primary.credentials.secretAccessKey: environment variable SK`);
    expect(stderr).not.toContain('accessKeyId:');
  });

  it('answers in JSON when that was asked for', async () => {
    const [config, usage] = await Promise.all([
      strongroom(['config', 'check', '--json', '-c', bad]),
      strongroom(['nonsense', '--json']),
    ]);
    expect(config).toMatchObject({ code: 15, stdout: '' });
    expect(JSON.parse(config.stderr)).toMatchObject({
      error: {
        code: 'E_CONFIG_INVALID',
        exitCode: 15,
        retryable: false,
        hint: 'correct the file, then: strongroom config check',
        details: {
          problems: [
            { line: 3, column: 3 },
            { line: 6, column: 5 },
            { line: 7, column: 58 },
          ],
        },
      },
    });
    expect(JSON.parse(usage.stderr)).toMatchObject({ error: { code: 'E_USAGE', exitCode: 2 } });
  });

  it('prints the schema', async () => {
    const { code, stdout } = await strongroom(['config', 'schema']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      type: 'object',
      required: ['version', 'destinations', 'signing', 'clusters'],
      additionalProperties: false,
    });
  });
});

describe('keys generate', () => {
  it('writes keys that work, for the owner alone, and shows no secret', async () => {
    const out = join(folder, 'keys');
    const { code, stdout, stderr } = await strongroom(['keys', 'generate', '-o', out, '--json']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const identity = await readFile(join(out, 'break-glass.txt'), 'utf8');
    const pem = await readFile(join(out, 'signing.pem'), 'utf8');
    const recipient = (await readFile(join(out, 'break-glass.pub.txt'), 'utf8')).trim();
    const [parsed] = await parseIdentities(new Secret(identity));
    if (parsed === undefined) throw new Error('no identity');
    expect(await recipientOf(parsed)).toBe(recipient);
    const signature = await localSigner(new Secret(pem)).sign(Buffer.from('x'), new AbortController().signal);
    const publicKey = await readFile(join(out, 'signing.pub.pem'), 'utf8');
    expect(() => verifySignature(Buffer.from('x'), signature, [publicKey])).not.toThrow();
    for (const name of ['break-glass.txt', 'signing.pem'])
      expect((await stat(join(out, name))).mode & 0o777).toBe(0o600);
    expect((await stat(out)).mode & 0o777).toBe(0o700);
    expect(stdout).toContain(recipient);
    for (const secret of ['AGE-SECRET-KEY', 'PRIVATE KEY']) expect(stdout).not.toContain(secret);
  });

  it('overwrites nothing, and then makes nothing', async () => {
    const out = await mkdtemp(join(folder, 'taken-'));
    await writeFile(join(out, 'signing.pub.pem'), 'mine');
    const { code, stderr } = await strongroom(['keys', 'generate', '-o', out]);
    expect(code).toBe(14);
    expect(stderr).toContain('signing.pub.pem exists already; nothing was made');
    expect(await readdir(out)).toEqual(['signing.pub.pem']);
    expect(await readFile(join(out, 'signing.pub.pem'), 'utf8')).toBe('mine');
  });

  it('shows secrets only when asked, one kind alone, and writes the recovery page with a config', async () => {
    const own = join(folder, 'own');
    await strongroom(['keys', 'generate', '-o', own, '--kind', 'signing']);
    expect((await readdir(own)).toSorted()).toEqual(['signing.pem', 'signing.pub.pem']);
    const config = join(folder, 'with-key.yaml');
    await writeFile(config, SAMPLE.replace('file:signing.pem', `file:${join(own, 'signing.pem')}`));
    const out = join(folder, 'shown');
    const { code, stdout } = await strongroom([
      'keys',
      'generate',
      '-o',
      out,
      '--kind',
      'break-glass',
      '--show',
      '-c',
      config,
    ]);
    expect(code).toBe(0);
    expect(stdout).toContain('AGE-SECRET-KEY-1');
    const page = await readFile(join(out, 'recovery-prod-eu-1.md'), 'utf8');
    expect(page).toContain((await readFile(join(own, 'signing.pub.pem'), 'utf8')).split('\n')[1]);
    expect(page).toContain((await readFile(join(out, 'break-glass.pub.txt'), 'utf8')).trim());
    expect(page).toContain('BUCKET=backups-a');
    expect(page).not.toContain('AGE-SECRET-KEY-1');
  });
});

describe('the process', () => {
  it('is quiet when its reader has seen enough', async () => {
    const child = spawn(process.execPath, [MAIN, 'config', 'schema'], {
      env: { PATH: process.env['PATH'], HOME: folder },
    });
    child.stdout.destroy();
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    const [code] = (await once(child, 'close')) as [number];
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  it('is no success when its output is lost', async () => {
    const full = await open('/dev/full', 'w');
    const child = spawn(process.execPath, [MAIN, 'version'], {
      env: { PATH: process.env['PATH'], HOME: folder },
      stdio: ['ignore', full.fd, 'pipe'],
    });
    const [code] = (await once(child, 'close')) as [number];
    await full.close();
    expect(code).toBe(1);
  });

  it('ends at once on the second signal, as 130, whatever it waits for', async () => {
    // A pipe without data stands for a file system that is gone: reading from it never ends.
    const pipe = join(folder, 'pipe');
    await once(spawn('mkfifo', [pipe]), 'close');
    const child = spawn(process.execPath, [MAIN, 'config', 'check', '-c', pipe], {
      env: { PATH: process.env['PATH'], HOME: folder },
    });
    const ended = once(child, 'close');
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    // Opens as soon as the other side reads, so by then the signals are listened to.
    const writer = await open(pipe, 'w');
    try {
      child.kill('SIGTERM');
      await once(child.stderr, 'data');
      child.kill('SIGTERM');
      const [code, signal] = (await ended) as [number | null, string | null];
      expect({ code, signal }).toEqual({ code: null, signal: 'SIGINT' });
      expect(stderr).toBe('stopping after SIGTERM; once more to end at once\n');
    } finally {
      child.kill('SIGKILL');
      await writer.close();
    }
  });
});
