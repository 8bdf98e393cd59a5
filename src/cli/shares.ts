/** Where unseal key shares come from: typed without echo, or a file, or standard input; one a line. */
import { text as readText } from 'node:stream/consumers';
import { StrongroomError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import type { Host } from './host.ts';
import { promptSecret } from './prompt.ts';
import { readReference } from './reference.ts';

export type NextShare = (need: { node: string; progress: number; threshold: number }) => Promise<Secret<string> | null>;

/**
 * `where` is `file:/path`, `env:NAME`, `stdin`, or undefined for the prompt. Lists are read at once, so that a missing file is
 * known before anything is installed; the prompt asks only when a share is needed.
 */
export async function shareSource(
  where: string | undefined,
  host: Pick<Host, 'stdin' | 'stderr' | 'env' | 'cwd' | 'signal'>,
): Promise<NextShare> {
  if (where === undefined) {
    return async ({ node, progress, threshold }) =>
      await promptSecret(host, `unseal key share ${progress + 1} of ${threshold} (for ${node})`);
  }
  const list = where === 'stdin' ? await readText(host.stdin) : (await readReference(where, host, '--shares')).reveal();
  const shares = list
    .split(/[\s,]+/)
    .filter((line) => line !== '')
    .map((line) => new Secret(line));
  if (shares.length === 0) {
    throw new StrongroomError('E_USAGE', `there are no unseal key shares in ${where}`, { hint: 'one share a line' });
  }
  return ({ progress }) => Promise.resolve(shares[progress] ?? null);
}
