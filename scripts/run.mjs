// The door of every npm script. Plain JavaScript without dependencies: it also runs on a fresh clone, before the first
// install, under the machine's own Node; the job itself runs under the Node of node_modules.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const modules = join(root, 'node_modules');
// As in the first line of src/main.ts, which says why.
const SMALL_NURSERY = '--max-semi-space-size=1';
const OLDEST_NODE = 20;
const NODE_OF_JOBS = 24;
const PROJECTS = ['unit', 'integration', 'e2e'];
const VITEST = 'node_modules/vitest/vitest.mjs';

const JOBS = {
  quickstart: (args) => script('scripts/quickstart.ts', args),
  strongroom: (args) => script('src/main.ts', args, { cwd: whereTyped(), nodeArgs: [SMALL_NURSERY] }),
  bench: (args) => script('scripts/bench.ts', args),
  load: (args) => script('scripts/load.ts', args),
  fuzz: (args) => script('test/fuzz/run.ts', args),
  test: runTests,
  check: runChecks,
};

/** One line to the person, and the end. */
class Refusal extends Error {}

async function main() {
  const [name, ...args] = process.argv.slice(2);
  if (Number.parseInt(process.versions.node, 10) < OLDEST_NODE) {
    throw new Refusal(`Node ${process.versions.node} is too old: install Node ${OLDEST_NODE} or newer`);
  }
  const job = name !== undefined && Object.hasOwn(JOBS, name) ? JOBS[name] : undefined;
  if (!job) throw new Refusal(`usage: node scripts/run.mjs ${Object.keys(JOBS).join('|')} [arguments]`);
  await install();
  return job(args);
}

/** Runs `npm ci` unless node_modules is what package-lock.json says. */
async function install() {
  const text = readFileSync(join(root, 'package-lock.json'));
  const wanted = createHash('sha256').update(text).digest('hex');
  const stamp = join(modules, '.strongroom-lock');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  if (!isInstalled(JSON.parse(text.toString()))) {
    process.stderr.write('npm ci: installing what package-lock.json lists\n');
    // From stdout to stderr: the output of `npm run strongroom` may be piped into another program.
    const npm = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
    const code = await run('npm', npm, { stdio: ['ignore', 2, 2] });
    if (code !== 0) throw new Refusal(`npm ci failed with exit code ${code}: see above, then try again`);
  }
  writeFileSync(stamp, wanted);
}

/**
 * Did someone install by hand? npm writes what it has put into node_modules to a lock file of its own there. Optional
 * packages may be absent: they are for other platforms.
 */
function isInstalled(lock) {
  const hidden = join(modules, '.package-lock.json');
  if (!existsSync(hidden)) return false;
  const installed = JSON.parse(readFileSync(hidden, 'utf8')).packages;
  const wanted = Object.entries(lock.packages).filter(([path]) => path !== '');
  const names = new Set(wanted.map(([path]) => path));
  return (
    Object.keys(installed).every((path) => names.has(path)) &&
    wanted.every(([path, entry]) =>
      installed[path] ? installed[path].version === entry.version : entry.optional === true,
    )
  );
}

/** The Node that jobs run on: it strips types and knows `await using`, which the machine's own may not. */
function nodeOfJobs() {
  const own = join(modules, 'node', 'bin', 'node');
  if (existsSync(own)) return own;
  if (Number.parseInt(process.versions.node, 10) >= NODE_OF_JOBS) return process.execPath;
  throw new Refusal(
    `node_modules has no Node ${NODE_OF_JOBS} (its install script did not run): rm -rf node_modules && npm ci --ignore-scripts=false`,
  );
}

function script(file, args, { nodeArgs = [], ...options } = {}) {
  if (!existsSync(join(root, file))) throw new Refusal(`${file} is not in this checkout: restore it with git`);
  return run(nodeOfJobs(), [...nodeArgs, join(root, file), ...args], options);
}

/** `npm run` moves to the top of the project; paths on the command line were typed elsewhere. */
function whereTyped() {
  return (process.env.npm_lifecycle_event === 'strongroom' && process.env.INIT_CWD) || process.cwd();
}

async function runTests(args) {
  const [first] = args;
  const project = PROJECTS.includes(first) ? first : undefined;
  if (first !== undefined && !first.startsWith('-') && !project) {
    throw new Refusal(`no test project ${first}: one of ${PROJECTS.join(', ')}, then arguments for vitest`);
  }
  if (project !== 'unit') {
    const code = await script('scripts/test-tools.ts', []);
    if (code !== 0) return code;
  }
  if (project) return script(VITEST, ['run', '--project', project, ...args.slice(1)], { cwd: root });
  const unit = await runProject('unit', args);
  // Both wait for servers most of the time: one after the other they would take twice as long.
  const others = await Promise.all([runProject('integration', args), runProject('e2e', args)]);
  return tellTotal([unit, ...others]);
}

/** Its lines as they come, each whole: two projects share the terminal. */
async function runProject(project, args) {
  let counts = null;
  const onLine = (line) => {
    process.stdout.write(`${line}\n`);
    const found = /^(\d+) passed, (\d+) failed, (\d+) skipped$/.exec(line);
    if (found) counts = found.slice(1).map(Number);
  };
  const vitest = ['run', '--project', project, '--passWithNoTests', ...args];
  return { project, code: await script(VITEST, vitest, { cwd: root, onLine }), counts };
}

function tellTotal(results) {
  const [passed, failed, skipped] = [0, 1, 2].map((i) =>
    results.reduce((sum, { counts }) => sum + (counts?.[i] ?? 0), 0),
  );
  const bad = results.filter(({ code }) => code !== 0);
  for (const { project, code } of bad) process.stdout.write(`test: ${project} FAILED with exit code ${code}\n`);
  process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  return bad[0]?.code ?? 0;
}

async function runChecks() {
  const checks = [
    ['tsc', '-p', 'tsconfig.json'],
    ['oxlint', 'src', 'jobs', 'scripts', 'test'],
    ['biome', 'ci', '--colors=off'],
    ['knip'],
  ];
  const failed = [];
  for (const [name, ...args] of checks) {
    const start = performance.now();
    const code = await run(join(modules, '.bin', name), args, { cwd: root });
    if (code !== 0) failed.push(name);
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    process.stdout.write(`check: ${name} ${code === 0 ? 'passed' : `FAILED with exit code ${code}`} (${seconds} s)\n`);
  }
  process.stdout.write(failed.length === 0 ? 'check: all passed\n' : `check: FAILED: ${failed.join(', ')}\n`);
  return failed.length === 0 ? 0 : 1;
}

/**
 * Runs a child with our terminal and resolves to its exit code, 128 + n when a signal ended it. SIGTERM and SIGHUP are
 * passed on once, SIGINT too unless the terminal has sent it to the child itself.
 */
function run(command, args, { cwd = root, stdio = 'inherit', onLine } = {}) {
  const cache = resolve(root, process.env.STRONGROOM_CACHE ?? '.cache');
  mkdirSync(cache, { recursive: true });
  const path = `${join(modules, '.bin')}${delimiter}${process.env.PATH ?? ''}`;
  const env = { ...process.env, PATH: path, NODE_COMPILE_CACHE: join(cache, 'node-compile') };
  const child = spawn(command, args, { cwd, env, stdio: onLine ? ['ignore', 'pipe', 'pipe'] : stdio });
  const lines = onLine ? [child.stdout, child.stderr].map((input) => readLines(input, onLine)) : [];
  const forwarded = new Set();
  const forward = (signal) => {
    if (forwarded.has(signal) || (signal === 'SIGINT' && inForeground())) return;
    forwarded.add(signal);
    child.kill(signal);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, forward);
  return new Promise((done, reject) => {
    child.once('error', (cause) => reject(new Refusal(`${command} did not start: ${cause.message}`)));
    child.once('exit', (code, signal) => {
      for (const each of signals) process.off(each, forward);
      // What it left running may keep the pipe open: its own end is what counts.
      const read = Promise.race([Promise.all(lines), wait(1_000, undefined, { ref: false })]);
      done(read.then(() => code ?? 128 + constants.signals[signal]));
    });
  });
}

async function readLines(input, onLine) {
  for await (const line of createInterface({ input })) onLine(line);
}

/** In the foreground of a terminal, Ctrl-C goes to the whole process group: forwarding would make two of it. */
function inForeground() {
  try {
    const stat = readFileSync('/proc/self/stat', 'utf8');
    const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return group === foreground;
  } catch {
    return process.stdin.isTTY === true; // no /proc: a guess, right unless the input is redirected
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof Refusal)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
