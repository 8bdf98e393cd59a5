import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { provide, type Recipe } from '../../scripts/tools/cache.ts';
import { run } from '../../scripts/tools/command.ts';
import { findPython, installTarget, type Python } from '../../scripts/tools/python.ts';
import { ToolError } from '../../scripts/tools/tool-error.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'strongroom-tools-'));
});
afterEach(async () => {
  await rm(root, { recursive: true });
});

const CACHE = join(import.meta.dirname, '..', '..', 'scripts', 'tools', 'cache.ts');

/** A program that asks for the entry `slow`, says when it builds, and builds until the file `go` is there. */
const BUILDER = `
import { existsSync } from 'node:fs';
import { appendFile, writeFile } from 'node:fs/promises';
import { provide } from ${JSON.stringify(CACHE)};
const [root, go] = process.argv.slice(1);
console.log('asking');
await provide({ key: 'slow', progress: 'building slow', build: async (directory) => {
  await appendFile(root + '/builds', process.pid + '\\n');
  await writeFile(directory + '/half', '');
  while (!existsSync(go)) await new Promise((r) => setTimeout(r, 20));
  await writeFile(directory + '/done', String(process.pid));
} }, root);
`;

function builder(go: string) {
  return execa(process.execPath, ['--input-type=module-typescript', '-e', BUILDER, root, go], { reject: false });
}

async function builds(): Promise<string[]> {
  const text = await readFile(join(root, 'builds'), 'utf8').catch(() => '');
  return text.split('\n').filter((line) => line !== '');
}

describe('provide', () => {
  const recipe = (build: Recipe['build']): Recipe => ({ key: 'thing', progress: 'building thing', build });

  test('builds once for two callers in one process', async () => {
    let count = 0;
    const once = recipe(async (directory) => {
      count += 1;
      await writeFile(join(directory, 'done'), '');
    });
    const [a, b] = await Promise.all([provide(once, root), provide(once, root)]);
    expect(a).toBe(b);
    expect(count).toBe(1);
    expect(await readdir(root)).toEqual(['thing']);
  });

  test('builds once for two processes: the second waits for the first', async () => {
    const go = join(root, 'go');
    const first = builder(go);
    await expect.poll(builds, { timeout: 120_000 }).toHaveLength(1);
    const second = builder(go);
    const [said] = (await once(second.stdout, 'data')) as [Buffer];
    expect(said.toString()).toBe('asking\n');
    expect(existsSync(join(root, 'slow'))).toBe(false);
    await writeFile(go, '');
    const results = await Promise.all([first, second]);
    expect(results.map((result) => result.exitCode)).toEqual([0, 0]);
    expect(await builds()).toEqual([String(first.pid)]);
    expect(await readFile(join(root, 'slow', 'done'), 'utf8')).toBe(String(first.pid));
    expect((await readdir(root)).toSorted()).toEqual(['builds', 'go', 'slow']);
  });

  test('takes over from a process that was killed, and removes its half', async () => {
    const first = builder(join(root, 'never'));
    await expect.poll(builds, { timeout: 120_000 }).toHaveLength(1);
    first.kill('SIGKILL');
    await first;
    expect(await readdir(root)).toContain('slow.lock');
    const go = join(root, 'go');
    await writeFile(go, '');
    expect((await builder(go)).exitCode).toBe(0);
    expect((await readdir(root)).toSorted()).toEqual(['builds', 'go', 'slow']);
  });

  test('leaves nothing when the build fails, and builds anew the next time', async () => {
    const failing = recipe(async (directory) => {
      await writeFile(join(directory, 'half'), '');
      throw new ToolError('thing cannot be built', 'try harder');
    });
    await expect(provide(failing, root)).rejects.toThrow('thing cannot be built: try harder');
    expect(await readdir(root)).toEqual([]);
    await provide(
      recipe((directory) => writeFile(join(directory, 'done'), '')),
      root,
    );
    expect(await readdir(join(root, 'thing'))).toEqual(['done']);
  });

  test('stops waiting for another process when aborted', async () => {
    const first = builder(join(root, 'never'));
    await expect.poll(builds, { timeout: 120_000 }).toHaveLength(1);
    const signal = AbortSignal.timeout(50);
    const waiting = provide({ key: 'slow', progress: '', build: async () => {} }, root, signal);
    await expect(waiting).rejects.toMatchObject({ name: 'TimeoutError' });
    first.kill('SIGKILL');
    await first;
  });

  test('builds anew what is no longer usable', async () => {
    const build = (directory: string): Promise<void> => writeFile(join(directory, String(Math.random())), '');
    const before = await readdir(await provide(recipe(build), root));
    const after = await readdir(await provide({ ...recipe(build), usable: () => false }, root));
    expect(after).toHaveLength(1);
    expect(after).not.toEqual(before);
  });
});

describe('pinned wheels', () => {
  let python: Python;
  beforeAll(async () => {
    python = await findPython(9);
  });

  /** A wheel made here, so that the test needs no network and knows the right hash. */
  async function wheel(): Promise<{ sha256: string }> {
    const make = `
import hashlib, sys, zipfile
name = sys.argv[1] + "/pinned-1.0-py3-none-any.whl"
with zipfile.ZipFile(name, "w") as z:
    z.writestr("pinned.py", "answer = 42\\n")
    z.writestr("pinned-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: pinned\\nVersion: 1.0\\n")
    z.writestr("pinned-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    z.writestr("pinned-1.0.dist-info/RECORD", "pinned.py,,\\npinned-1.0.dist-info/METADATA,,\\npinned-1.0.dist-info/WHEEL,,\\npinned-1.0.dist-info/RECORD,,\\n")
print(hashlib.sha256(open(name, "rb").read()).hexdigest())`;
    return { sha256: await run(python.path, ['-c', make, root], { fix: 'see the output' }) };
  }

  async function install(sha256: string): Promise<string[]> {
    const cache = join(root, 'cache');
    await mkdir(cache, { recursive: true });
    const requirements = join(root, 'requirements.txt');
    const lines = ['--no-index', `--find-links ${root}`, `pinned==1.0 --hash=sha256:${sha256}`];
    await writeFile(requirements, lines.join('\n'));
    const build: Recipe['build'] = (directory, signal) => installTarget(python, directory, requirements, signal);
    const made = await provide({ key: 'pinned', progress: 'installing pinned', build }, cache);
    return readdir(join(made, 'wheel'));
  }

  test('are installed with the right hash', async () => {
    const { sha256 } = await wheel();
    expect(await install(sha256)).toContain('pinned.py');
  });

  test('are refused with a wrong hash, in one line, and nothing is left in the cache', async () => {
    const { sha256 } = await wheel();
    const wrong = sha256.replace(/^./, sha256.startsWith('0') ? '1' : '0');
    const error: unknown = await install(wrong).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ToolError);
    expect(String(error)).toMatch(/^[^\n]*hash[^\n]*$/i);
    expect(await readdir(join(root, 'cache'))).toEqual([]);
  });
});

describe('findPython', () => {
  const before = { ...process.env };
  afterEach(() => {
    process.env['PATH'] = before['PATH'];
    if (before['PYENV_ROOT'] === undefined) delete process.env['PYENV_ROOT'];
    else process.env['PYENV_ROOT'] = before['PYENV_ROOT'];
  });

  async function pathWith(scripts: Record<string, string>): Promise<void> {
    for (const [name, script] of Object.entries(scripts)) {
      await writeFile(join(root, name), `#!/bin/sh\n${script}\n`);
      await chmod(join(root, name), 0o755);
    }
    process.env['PATH'] = `${root}:/bin`;
    process.env['PYENV_ROOT'] = join(root, 'nowhere');
  }

  test('passes over a shim that exists and fails', async () => {
    await pathWith({
      'python3.14': 'echo "pyenv: python3.14: command not found" >&2; exit 127',
      'python3.13': 'echo 3 13 1 1 /opt/real/python3.13',
    });
    expect(await findPython(12)).toEqual({ path: '/opt/real/python3.13', minor: 13, hasVenv: true, hasPip: true });
  });

  test('believes the answer, not the name', async () => {
    await pathWith({ 'python3.13': 'echo 3 8 1 1 /opt/old', 'python3.12': 'echo 3 12 1 1 /opt/right' });
    expect((await findPython(12)).path).toBe('/opt/right');
  });

  test('prefers an interpreter with venv, and names the package when none has it', async () => {
    await pathWith({ 'python3.13': 'echo 3 13 0 1 /opt/bare', 'python3.12': 'echo 3 12 1 1 /opt/full' });
    expect((await findPython(12)).path).toBe('/opt/full');
    await rm(join(root, 'python3.12'));
    process.env['PATH'] = root;
    await expect(findPython(12)).rejects.toThrow('/opt/bare has no venv module: apt-get install -y python3-venv');
  });

  test('says what to install when there is none', async () => {
    await pathWith({});
    process.env['PATH'] = root;
    await expect(findPython(9)).rejects.toThrow(/Python 3\.9 or newer.*: apt-get install -y python3 python3-venv$/);
  });
});
