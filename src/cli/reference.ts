/** Secrets on a command line are never values, only where to find them: `env:NAME`, `file:/path`. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { StrongroomError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import type { Host } from './host.ts';

/** The secret behind `reference`, one newline at its end cut. `flag` is for the message of an E_USAGE or E_NOT_FOUND. */
export async function readReference(
  reference: string,
  host: Pick<Host, 'env' | 'cwd' | 'signal'>,
  flag: string,
): Promise<Secret<string>> {
  const [, scheme, target = ''] = /^(env|file):(.+)$/s.exec(reference) ?? [];
  if (scheme === undefined) {
    // The value is not repeated: it may be the secret itself.
    throw new StrongroomError('E_USAGE', `${flag} takes no value, only where to find it`, {
      hint: `${flag} env:NAME, or ${flag} file:/path: other users of this machine can read a command line`,
    });
  }
  if (scheme === 'env') {
    const value = host.env[target];
    if (value === undefined || value === '') {
      throw new StrongroomError('E_NOT_FOUND', `${flag}: the environment variable ${target} is not set`, {
        hint: `export ${target} first`,
      });
    }
    return new Secret(value);
  }
  try {
    const text = await readFile(resolve(host.cwd, target), { encoding: 'utf8', signal: host.signal });
    return new Secret(text.replace(/\r?\n$/, ''));
  } catch (e) {
    host.signal.throwIfAborted();
    throw new StrongroomError('E_NOT_FOUND', `${flag}: ${target} cannot be read`, {
      hint: 'check the path and its permissions',
      cause: e,
    });
  }
}
