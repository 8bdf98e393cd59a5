import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { references } from '../../../src/config/load.ts';
import { SecretRef, TextRef } from '../../../src/config/secret.ts';
import { parse, RECIPIENT, SAMPLE, sample } from './sample.ts';

const SIGNAL = new AbortController().signal;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'secret-'));
});
afterAll(() => rm(folder, { recursive: true }));

function bound(source: string, env: Record<string, string> = {}): { ref: SecretRef; warnings: string[] } {
  const ref = new SecretRef(source);
  const warnings: string[] = [];
  ref.bind({ directory: folder, env, warn: (message) => warnings.push(message) }, 'c.yaml:1:2 here');
  return { ref, warnings };
}

describe('a reference', () => {
  it('reads a variable each time anew', async () => {
    const env: Record<string, string> = { NAME: 'one' };
    const { ref } = bound('env:NAME', env);
    expect((await ref.resolve(SIGNAL)).reveal()).toBe('one');
    env['NAME'] = 'two';
    expect((await ref.resolve(SIGNAL)).reveal()).toBe('two');
  });

  it.each([
    ['value\n', 'value'],
    ['value\r\n', 'value'],
    ['value\n\n', 'value\n'],
    ['two\nlines', 'two\nlines'],
  ])('reads a file and cuts one newline: %j', async (content, value) => {
    await writeFile(join(folder, 'f'), content, { mode: 0o600 });
    expect((await bound('file:f').ref.resolve(SIGNAL)).reveal()).toBe(value);
    expect((await bound(`file:${join(folder, 'f')}`).ref.resolve(SIGNAL)).reveal()).toBe(value);
  });

  it('says where in the config, and what is missing', async () => {
    await expect(bound('env:NONE').ref.resolve(SIGNAL)).rejects.toMatchObject({
      code: 'E_CONFIG_INVALID',
      message: 'c.yaml:1:2 here: environment variable NONE is not set',
      hint: 'export NONE=…',
    });
    await expect(bound('env:NONE', { NONE: '' }).ref.resolve(SIGNAL)).rejects.toThrow('env:NONE is empty');
    await expect(bound('file:none').ref.resolve(SIGNAL)).rejects.toThrow(
      `c.yaml:1:2 here: ${join(folder, 'none')} cannot be read (ENOENT)`,
    );
    await expect(bound('file:.').ref.resolve(SIGNAL)).rejects.toThrow('cannot be read (EISDIR)');
    await expect(bound('file:/dev/zero').ref.resolve(SIGNAL)).rejects.toThrow('/dev/zero is larger than 1 MiB');
    await writeFile(join(folder, 'blank'), '\n', { mode: 0o600 });
    await expect(bound('file:blank').ref.resolve(SIGNAL)).rejects.toThrow('file:blank is empty');
  });

  it('warns of a secret that everybody may read, and of no other file', async () => {
    const file = join(folder, 'open');
    await writeFile(file, 'x');
    await chmod(file, 0o604);
    const open = bound('file:open');
    await open.ref.resolve(SIGNAL);
    expect(open.warnings).toEqual([
      `c.yaml:1:2 here: ${file} is readable by every user of this machine; chmod o-r ${file}`,
    ]);
    await chmod(file, 0o640);
    const closed = bound('file:open');
    await closed.ref.resolve(SIGNAL);
    expect(closed.warnings).toEqual([]);
    await chmod(file, 0o604);
    const text = new TextRef('file:open');
    const warnings: string[] = [];
    text.bind({ directory: folder, env: {}, warn: (message) => warnings.push(message) }, 'c');
    await text.resolve(SIGNAL);
    expect(warnings).toEqual([]);
  });

  it('stops on an abort', async () => {
    const reason = new Error('enough');
    await expect(bound('env:NAME', { NAME: 'x' }).ref.resolve(AbortSignal.abort(reason))).rejects.toBe(reason);
  });
});

describe('a config with secrets', () => {
  const env = { AK: 'planted-ak', SK: 'planted-sk', VAULT_TOKEN: 'planted-token' };

  it('never prints them', async () => {
    const config = parse(SAMPLE, env);
    for (const { reference } of references(config)) {
      if (reference.source.startsWith('env:')) await reference.resolve(SIGNAL);
    }
    for (const shown of [
      JSON.stringify(config),
      inspect(config, { depth: 20, showHidden: true }),
      `${inspect(config.signing.key)}`,
    ]) {
      expect(shown).toContain('*** (');
      expect(shown).not.toContain('planted');
    }
  });

  it('names each reference with its place', async () => {
    const config = parse(SAMPLE);
    const found = references(config);
    expect(found.map(({ path }) => path.join('.'))).toEqual([
      'destinations.primary.credentials.accessKeyId',
      'destinations.primary.credentials.secretAccessKey',
      'encryption.breakGlass.0',
      'signing.key',
      'clusters.prod-eu-1.auth.token',
    ]);
    const token = found.at(-1)?.reference;
    await expect(token?.resolve(SIGNAL)).rejects.toThrow(
      '/etc/sr/strongroom.yaml:16:35 clusters.prod-eu-1.auth.token: environment variable VAULT_TOKEN is not set',
    );
  });

  it('takes texts that are no secret as they stand', async () => {
    const [recipient] = parse(SAMPLE).encryption.breakGlass;
    expect(recipient?.isInline).toBe(true);
    expect(await recipient?.resolve(SIGNAL)).toBe(RECIPIENT);
    const pem = '-----BEGIN CERTIFICATE-----\n      AAAA\n      -----END CERTIFICATE-----\n';
    const tls = `${SAMPLE}    tls:\n      ca: |\n        ${pem.replaceAll('\n      ', '\n        ')}`;
    expect(await parse(tls).clusters['prod-eu-1']?.tls.ca?.resolve(SIGNAL)).toContain('AAAA');
    expect(parse(sample(RECIPIENT, 'env:RCPT')).encryption.breakGlass[0]?.isInline).toBe(false);
  });
});
