/** A real Chromium, as Debian packages it. */
import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Where it is; null = this machine has none. With CI=true that is an error: nothing is skipped there. */
export function chromiumPath(): string | null {
  const found = PATHS.find((path) => existsSync(path)) ?? null;
  if (found === null && process.env['CI'] === 'true') throw new Error('no Chromium: apt-get install chromium');
  return found;
}

/** The caller closes it. */
export async function startChromium(path: string): Promise<Browser> {
  // As root, in a container, its own sandbox cannot be set up. It only ever sees pages of the tests.
  return await chromium.launch({ executablePath: path, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
}
