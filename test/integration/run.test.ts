import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findPython } from '../../scripts/tools/python.ts';

/** A checkout in which `strongroom` is a small program of ours, with one dependency that needs no network. */
let root: string;

const MAIN = `
const [what] = process.argv.slice(2);
if (what === 'args') console.log(JSON.stringify([process.argv.slice(2), process.cwd()]));
if (what === 'cat') process.stdin.pipe(process.stdout);
if (what === 'fail') process.exitCode = 13;
if (what === 'wait') setInterval(() => {}, 1000);
if (what === 'close') {
  const timer = setInterval(() => {}, 1000);
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => {
    console.log('got ' + signal);
    setTimeout(() => { console.log('closed'); clearInterval(timer); process.exitCode = 130; process.stdin.destroy(); }, 150);
  });
}
console.log('ready');
`;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'strongroom-door-'));
  for (const directory of ['scripts', 'src', 'thing']) await mkdir(join(root, directory));
  await cp(join(import.meta.dirname, '..', '..', 'scripts', 'run.mjs'), join(root, 'scripts', 'run.mjs'));
  await writeFile(join(root, 'src', 'main.ts'), MAIN);
  await writeFile(join(root, 'thing', 'package.json'), JSON.stringify({ name: 'thing', version: '1.0.0' }));
  await npm('pack', './thing');
  const manifest = { name: 'door', version: '1.0.0', type: 'module', dependencies: { thing: 'file:thing-1.0.0.tgz' } };
  await writeFile(join(root, 'package.json'), JSON.stringify(manifest));
  await npm('install', '--package-lock-only');
});
afterAll(async () => {
  await rm(root, { recursive: true });
});

/** npm with a cache of its own: the machine's must not answer for a broken checkout, nor keep our tarball. */
async function npm(...args: string[]): Promise<void> {
  await execa('npm', [...args, '--offline'], { cwd: root, env: { npm_config_cache: join(root, 'npm-cache') } });
}

function door(args: string[], options: { input?: string; nodeOptions?: string[] } = {}) {
  const node = [...(options.nodeOptions ?? []), join(root, 'scripts', 'run.mjs'), ...args];
  const npmCache = join(root, 'npm-cache');
  const env = { npm_lifecycle_event: undefined, STRONGROOM_CACHE: undefined, npm_config_cache: npmCache };
  return execa(process.execPath, node, {
    cwd: root,
    env,
    reject: false,
    ...(options.input === undefined ? {} : { input: options.input }),
  });
}

const INSTALLS = 'npm ci: installing what package-lock.json lists';

describe('a fresh checkout', () => {
  test('is installed before the first job, with its talk on stderr', async () => {
    const result = await door(['strongroom', 'args', '--config', 'a b']);
    expect(result.stderr).toContain(INSTALLS);
    expect(result.stdout.split('\n')).toEqual([JSON.stringify([['args', '--config', 'a b'], root]), 'ready']);
    expect(await readdir(join(root, 'node_modules'))).toContain('thing');
  });

  test('is not installed again', async () => {
    expect((await door(['strongroom', 'args'])).stderr).toBe('');
  });

  test('is installed again when node_modules went away', async () => {
    await rm(join(root, 'node_modules'), { recursive: true });
    expect((await door(['strongroom'])).stderr).toContain(INSTALLS);
  });

  test('is installed again when the lock names another version, not when only its bytes changed', async () => {
    const lock = join(root, 'package-lock.json');
    const text = await readFile(lock, 'utf8');
    await writeFile(lock, `${text}\n`);
    expect((await door(['strongroom'])).stderr).toBe('');
    await writeFile(lock, text.replaceAll('"version": "1.0.0"', '"version": "1.0.1"'));
    expect((await door(['strongroom'])).stderr).toContain(INSTALLS);
    await writeFile(lock, text);
  });

  test('says in its last line that the installation failed, and does not run the job', async () => {
    await rm(join(root, 'node_modules'), { recursive: true });
    const lock = join(root, 'package-lock.json');
    const text = await readFile(lock, 'utf8');
    await writeFile(lock, text.replace('sha512-', 'sha512-AAAA'));
    const result = await door(['strongroom', 'args']);
    await writeFile(lock, text);
    expect(result.exitCode).toBe(1);
    expect(result.stdout).toBe('');
    expect(result.stderr.split('\n').at(-1)).toMatch(/^npm ci failed with exit code \d+: see above/);
  });
});

describe('a job', () => {
  beforeAll(async () => {
    await door(['strongroom']);
  });

  test('keeps its exit code', async () => {
    expect((await door(['strongroom', 'fail'])).exitCode).toBe(13);
  });

  test('reads our standard input', async () => {
    expect((await door(['strongroom', 'cat'], { input: 'yes\n' })).stdout).toBe('ready\nyes');
  });

  test.each(['SIGINT', 'SIGTERM'] as const)('gets %s once, and is awaited', async (signal) => {
    const running = door(['strongroom', 'close']);
    await once(running.stdout, 'data');
    running.kill(signal);
    await once(running.stdout, 'data'); // else the kernel makes one of two signals
    running.kill(signal);
    const result = await running;
    expect(result.stdout).toBe(`ready\ngot ${signal}\nclosed`);
    expect(result.exitCode).toBe(130);
  });

  test('that a signal ends is 128 + its number', async () => {
    const running = door(['strongroom', 'wait']);
    await once(running.stdout, 'data');
    running.kill('SIGTERM');
    expect((await running).exitCode).toBe(143);
  });

  test('gets Ctrl-C once in a terminal, where it comes from the terminal itself', async () => {
    const python = await findPython(9);
    const terminal = `
import os, pty, sys
pid, fd = pty.fork()
if pid == 0: os.execv(sys.argv[1], sys.argv[1:])
seen, pressed = b"", False
while True:
    try: piece = os.read(fd, 4096)
    except OSError: break
    if not piece: break
    seen += piece
    if b"ready" in seen and not pressed:
        pressed = True
        os.write(fd, b"\\x03")
print(seen.decode().replace("\\r", ""), "exit", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))`;
    // What is forwarded is seen at its source: two signals at the same moment may arrive as one.
    const spy = `import { ChildProcess } from 'node:child_process';
const kill = ChildProcess.prototype.kill;
ChildProcess.prototype.kill = function (signal) { console.log('forwarded ' + signal); return kill.call(this, signal); };`;
    const node = [process.execPath, '--import', `data:text/javascript,${encodeURIComponent(spy)}`];
    const args = ['-c', terminal, ...node, join(root, 'scripts', 'run.mjs'), 'strongroom', 'close'];
    const { stdout } = await execa(python.path, args);
    expect(stdout).toContain('got SIGINT');
    expect(stdout).not.toContain('forwarded');
    expect(stdout).toMatch(/closed\n? *exit 130$/);
  });

  test('without its file is said in one line', async () => {
    const result = await door(['bench']);
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toBe('scripts/bench.ts is not in this checkout: restore it with git');
  });

  test('that does not exist is answered with those that do', async () => {
    const result = await door(['backup']);
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toMatch(/^usage: node scripts\/run\.mjs quickstart\|strongroom\|[^\n]*$/);
  });

  test('is refused on an old Node, in one line', async () => {
    const old = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.4' } })`;
    const nodeOptions = ['--import', `data:text/javascript,${encodeURIComponent(old)}`];
    const result = await door(['strongroom'], { nodeOptions });
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toBe('Node 18.20.4 is too old: install Node 20 or newer');
  });
});

describe('test', () => {
  const VITEST = `
import { existsSync, writeFileSync } from 'node:fs';
const project = process.argv[process.argv.indexOf('--project') + 1];
writeFileSync(project + '.began', '');
const other = { integration: 'e2e', e2e: 'integration' }[project];
const end = () => {
  process.stdout.write('a line of ' + project);
  process.stdout.write(' that came in two pieces\\n');
  const failed = process.env.FAILS === project ? 1 : 0;
  console.log(2 - failed + ' passed, ' + failed + ' failed, 1 skipped');
  process.exitCode = failed;
};
// Each of the two ends only after it has seen that the other one began.
const look = () => (other === undefined || existsSync(other + '.began') ? end() : setTimeout(look, 20));
look();
`;
  const runTests = async (fails: string) => {
    await mkdir(join(root, 'node_modules', 'vitest'), { recursive: true });
    await writeFile(join(root, 'node_modules', 'vitest', 'vitest.mjs'), VITEST);
    await writeFile(join(root, 'scripts', 'test-tools.ts'), '');
    const env = { npm_config_cache: join(root, 'npm-cache'), FAILS: fails };
    return await execa(process.execPath, [join(root, 'scripts', 'run.mjs'), 'test'], { cwd: root, env, reject: false });
  };

  test('runs the slow projects side by side, and adds up what they say', async () => {
    const { exitCode, stdout } = await runTests('none');
    expect(exitCode).toBe(0);
    const lines = stdout.split('\n');
    for (const project of ['unit', 'integration', 'e2e']) {
      expect(lines).toContain(`a line of ${project} that came in two pieces`);
    }
    expect(lines.at(-1)).toBe('6 passed, 0 failed, 3 skipped');
  });

  test.each(['unit', 'integration', 'e2e'])('fails when %s does', async (project) => {
    const { exitCode, stdout } = await runTests(project);
    expect(exitCode).toBe(1);
    expect(stdout.split('\n').slice(-2)).toEqual([
      `test: ${project} FAILED with exit code 1`,
      '5 passed, 1 failed, 3 skipped',
    ]);
  });
});
