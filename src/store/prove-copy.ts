/** Does a store hold what was sent to it? */
import { StrongroomError } from '../core/errors.ts';
import { discard, flow } from '../core/flow.ts';
import type { ObjectKey } from './layout.ts';
import { type ExpectedParts, matchParts } from './match-parts.ts';
import type { Store } from './store.ts';

/** `checksum`: length and SHA-256 as the store itself computed them; `read`: every byte is fetched and hashed again. */
export type ProofKind = 'checksum' | 'read';

/**
 * Proves that the store holds exactly `body`: by the length and checksum that the store computed itself, or, where it
 * keeps none or `read` is asked for, by fetching every byte. Rejects with E_STORE_CHECKSUM when it does not.
 */
export async function proveCopy(
  store: Store,
  key: ObjectKey,
  body: ExpectedParts,
  composite: string,
  kind: ProofKind,
  signal: AbortSignal,
): Promise<ProofKind> {
  const head = await store.head(key, { signal });
  const differs = (what: string): StrongroomError =>
    new StrongroomError('E_STORE_CHECKSUM', `${store.location} does not hold what was sent to it: ${what}`, {
      hint: 'the copy is not published; try again, and look at the health of that store',
      details: { store: store.name, key },
    });
  if (head === null) throw differs('the object is not there after the upload');
  if (head.bytes !== body.bytes) throw differs(`${head.bytes} bytes instead of ${body.bytes}`);
  if (kind === 'checksum' && head.sha256 === composite) return 'checksum';
  // A composite depends on where a store cut the parts; the bytes themselves are the judge.
  await flow(store.get(key, { signal }), [matchParts(body, differs)], discard, signal);
  return 'read';
}
