/** Servers and clients written in Python, each in a virtual environment of its own. */

import { existsSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findPython, installVenv } from './python.ts';
import { fingerprint, PINS, type Tool } from './tool.ts';

/**
 * @param name of the lock file in tools/python, of the entry and of its executable
 * @param module what `python -m` starts
 * @param minor lowest minor version of Python 3 that runs it
 * @param size of the download, for the one who waits
 */
export function pythonTool(name: string, module: string, minor: number, size: string): Tool {
  const requirements = join(PINS, 'python', `${name}.txt`);
  return {
    executable: name,
    recipe: () => ({
      key: `${name}-${fingerprint(requirements)}`,
      // A link to the machine's interpreter, which an upgrade may remove. existsSync follows it.
      usable: (directory) => existsSync(join(directory, 'venv', 'bin', 'python')),
      progress: `installing ${name} for Python (${size}, once)`,
      build: async (directory, signal) => {
        const python = await findPython(minor, signal);
        await installVenv(python, join(directory, 'venv'), requirements, signal);
        // Not the console script of the environment: that one names the directory the environment was made in.
        const script = `#!/bin/sh\nexec "$(dirname "$0")/venv/bin/python" -m ${module} "$@"\n`;
        const executable = join(directory, name);
        await writeFile(executable, script);
        await chmod(executable, 0o755);
      },
    }),
  };
}
