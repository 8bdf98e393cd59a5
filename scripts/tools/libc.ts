/** Which machines the wheels that carry a program are for. */

import { existsSync } from 'node:fs';
import { ToolError } from './tool-error.ts';

/** Elsewhere pip would only say "no matching distribution". */
export function refuseOtherLibc(what: string): void {
  const fits = process.platform === 'linux' && (process.arch === 'x64' || process.arch === 'arm64');
  if (fits && !existsSync('/etc/alpine-release')) return;
  throw new ToolError(
    `${what} comes as a wheel for Linux with glibc on x86_64 and aarch64`,
    'work on Debian or Ubuntu, or in a container of them',
  );
}
