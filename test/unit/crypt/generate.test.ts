import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Secret } from '../../../src/core/secret.ts';
import { generateBreakGlass, generateSigningKey, writeSecretFile } from '../../../src/crypt/generate.ts';
import { parseIdentities, recipientOf } from '../../../src/crypt/recipients.ts';

const run = promisify(execFile);
const secret = new Secret('AGE-SECRET-KEY-1EXAMPLE\n');
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'strongroom-generate-'));
});
afterEach(() => rm(folder, { recursive: true }));

describe('generated keys', () => {
  it.each([false, true])(
    'break glass is an identity file with its recipient (post-quantum %s)',
    async (postQuantum) => {
      const now = new Date('2026-11-22T01:30:00.123Z');
      const { identity, recipient, file } = await generateBreakGlass({ postQuantum, now });
      expect(recipient.startsWith('age1pq1')).toBe(postQuantum);
      expect(await recipientOf(identity)).toBe(recipient);
      expect(file.reveal()).toBe(`# created: 2026-11-22T01:30:00Z\n# public key: ${recipient}\n${identity.reveal()}\n`);
      expect((await parseIdentities(file)).map((id) => id.reveal())).toEqual([identity.reveal()]);
      expect(`${String(identity)}${JSON.stringify({ identity, file })}`).not.toMatch(/SECRET-KEY/);
    },
  );

  it('signing keys are P-256, each another', () => {
    const [a, b] = [generateSigningKey(), generateSigningKey()];
    expect(a.keyId).toMatch(/^[0-9a-f]{64}$/);
    expect(a.keyId).not.toBe(b.keyId);
    expect(JSON.stringify(a)).not.toMatch(/PRIVATE/);
  });
});

describe('writeSecretFile', () => {
  it('writes for the owner alone, whatever the umask', async () => {
    const path = join(folder, 'glass.txt');
    const before = process.umask(0);
    try {
      await writeSecretFile(path, secret);
    } finally {
      process.umask(before);
    }
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readFile(path, 'utf8')).toBe(secret.reveal());
  });

  it('never overwrites, and follows no link', async () => {
    const path = join(folder, 'glass.txt');
    await writeFile(path, 'precious');
    await expect(writeSecretFile(path, secret)).rejects.toMatchObject({ code: 'E_PRECONDITION' });
    expect(await readFile(path, 'utf8')).toBe('precious');
    await symlink(join(folder, 'elsewhere'), join(folder, 'link'));
    await expect(writeSecretFile(join(folder, 'link'), secret)).rejects.toMatchObject({ code: 'E_PRECONDITION' });
    expect((await readdir(folder)).toSorted()).toEqual(['glass.txt', 'link']);
  });

  it('refuses a git work tree, from its root to its depths, and through a link', async () => {
    const tree = join(folder, 'tree');
    await mkdir(join(tree, 'a', 'b'), { recursive: true });
    await run('git', ['init', '-q', tree]);
    await symlink(join(tree, 'a'), join(folder, 'innocent'));
    for (const path of [join(tree, 'x'), join(tree, 'a', 'b', 'x'), join(folder, 'innocent', 'x')]) {
      const failing = writeSecretFile(path, secret);
      await expect(failing).rejects.toMatchObject({ code: 'E_PRECONDITION' });
      await expect(failing).rejects.toThrow(/inside the git work tree/);
    }
    // A linked work tree has a file there.
    await mkdir(join(folder, 'linked'));
    await writeFile(join(folder, 'linked', '.git'), 'gitdir: elsewhere\n');
    await expect(writeSecretFile(join(folder, 'linked', 'x'), secret)).rejects.toThrow(/inside the git work tree/);
  });

  it('says when the directory is missing, and leaves nothing behind when it cannot write', async () => {
    await expect(writeSecretFile(join(folder, 'no', 'x'), secret)).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
    await mkdir(join(folder, 'dir'));
    await expect(writeSecretFile(join(folder, 'dir'), secret)).rejects.toMatchObject({ code: 'E_PRECONDITION' });
    await chmod(folder, 0o700);
    expect(await readdir(folder)).toEqual(['dir']);
  });
});
