/** Where unseal key shares come from: typed without echo, or a file, or standard input; one a line. */
import { text as readText } from 'node:stream/consumers';
import { isError, StrongroomError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import type { Host } from './host.ts';
import { promptSecret } from './prompt.ts';
import { readReference } from './reference.ts';

export type ShareSource = {
  next: (need: { node: string; progress: number; threshold: number }) => Promise<Secret<string> | null>;
  /** how many it can give: known beforehand for a list, 0 without a list and without a terminal */
  atMost: number;
};

/**
 * `where` is `file:/path`, `env:NAME`, `stdin`, or undefined for the prompt. Lists are read at once, so that a missing file is
 * known before anything is installed; the prompt asks only when a share is needed, and takes an empty line for "no more".
 */
export async function shareSource(
  where: string | undefined,
  host: Pick<Host, 'stdin' | 'stderr' | 'env' | 'cwd' | 'signal'>,
): Promise<ShareSource> {
  if (where === undefined) {
    return {
      atMost: host.stdin.isTTY === true ? Number.POSITIVE_INFINITY : 0,
      next: async ({ node, progress, threshold }) =>
        await promptOrNull(host, `unseal key share ${progress + 1} of ${threshold} (for ${node})`),
    };
  }
  const list = where === 'stdin' ? await readText(host.stdin) : (await readReference(where, host, '--shares')).reveal();
  // The same share twice opens nothing.
  const shares = [...new Set(list.split(/[\s,]+/).filter((line) => line !== ''))].map((line) => new Secret(line));
  if (shares.length === 0) {
    throw new StrongroomError('E_USAGE', `there are no unseal key shares in ${where}`, { hint: 'one share a line' });
  }
  return { atMost: shares.length, next: ({ progress }) => Promise.resolve(shares[progress] ?? null) };
}

async function promptOrNull(
  host: Pick<Host, 'stdin' | 'stderr' | 'signal'>,
  question: string,
): Promise<Secret<string> | null> {
  try {
    return await promptSecret(host, question);
  } catch (e) {
    // Nothing typed, or the end of the input: the caller knows what it means that there are no more.
    if (isError(e, 'E_PRECONDITION') || isError(e, 'E_CONFIRMATION')) return null;
    throw e;
  }
}
