/** Who can open one snapshot: wraps its identity for all of them, unwraps with any that is there. */
import { describeError, isError, StrongroomError } from '../core/errors.ts';
import type { Secret } from '../core/secret.ts';
import { unwrapWithIdentities, wrapForRecipient } from './age-wrap.ts';
import type { KmsKey, KmsWrap, WrapContext } from './kms.ts';
import { minimums, type RecipientPolicy } from './policy.ts';
import { brief, recipientOf } from './recipients.ts';
import type { MissingWrap, Sidecar, Wrap } from './sidecar.ts';

export type WrapOptions = {
  kms: readonly KmsKey[];
  breakGlass: readonly string[];
  policy: RecipientPolicy;
  /** `createdAt` of the sidecar */
  now: Date;
};

/**
 * Wraps `identity` for every KMS key, all at once, and for every break-glass recipient. A key that fails is recorded in
 * `missing`; with fewer wraps than the policy's minimum this throws E_KEY_UNAVAILABLE, and there must be no backup.
 *
 * Needs kms:Encrypt alone. So a writer cannot repair what is missing later: that takes {@link rewrapSidecar} with the right
 * to open (kms:Decrypt, or kms:ReEncrypt inside a region) or a break-glass identity.
 */
export async function wrapIdentity(
  identity: Secret<string>,
  context: WrapContext,
  options: WrapOptions,
  signal: AbortSignal,
): Promise<Sidecar> {
  const least = minimums(options.policy);
  const wraps: Wrap[] = [];
  const missing: MissingWrap[] = [];
  const failures: unknown[] = [];
  const results = await Promise.allSettled(options.kms.map((key) => key.wrap(identity, context, signal)));
  signal.throwIfAborted();
  for (const [index, key] of options.kms.entries()) {
    const result = results[index];
    if (result?.status === 'fulfilled') {
      wraps.push(result.value);
      continue;
    }
    if (!isError(result?.reason)) throw result?.reason;
    failures.push(result.reason);
    missing.push({ type: 'aws-kms', keyId: key.keyId, code: result.reason.code });
  }
  if (wraps.length < least.kms) throw tooFewWraps(wraps.length, least.kms, failures);
  if (options.breakGlass.length < least.breakGlass) {
    throw new StrongroomError(
      'E_CONFIG_INVALID',
      `${options.breakGlass.length} break-glass recipients are configured, and ${least.breakGlass} needed`,
    );
  }
  for (const recipient of options.breakGlass) wraps.push(await wrapForRecipient(identity, context, recipient));
  // With both minimums declined, and all keys down: a backup that nobody could open.
  if (wraps.length === 0) throw tooFewWraps(0, 1, failures);
  return {
    v: 1,
    cluster: context.cluster,
    snapshot: context.snapshot,
    encryptionContext: { cluster: context.cluster, snapshot: context.snapshot },
    wraps,
    missing,
    revision: 1,
    createdAt: options.now.toISOString(),
  };
}

/** What can open a wrap: KMS keys in order of preference (nearest first), and the identities of break-glass recipients. */
export type Openers = { kms: readonly KmsKey[]; identities: readonly Secret<string>[] };

export type Attempt = { what: string; error: string };

export type Unwrapped = {
  identity: Secret<string>;
  /** the key ARN or recipient that did it */
  openedWith: string;
  /** what failed before */
  tried: Attempt[];
};

/**
 * Opens the snapshot's identity: KMS wraps first, in the order of `openers.kms`, then break-glass wraps. Every failure is kept
 * in `tried`; when nothing opens this throws E_KEY_UNAVAILABLE with all of them in `details.tried`.
 *
 * `expect.recipient` (of the signed manifest) is compared with what opens, because keys.json is not signed: a wrap that was
 * put there by somebody else then counts as one that failed. Break-glass identities also open the data itself, as
 * recipients of its header: where keys.json is lost, give them to {@link decrypt} directly.
 */
export async function unwrapIdentity(
  sidecar: Pick<Sidecar, 'cluster' | 'snapshot' | 'wraps'>,
  openers: Openers,
  signal: AbortSignal,
  expect: { recipient?: string } = {},
): Promise<Unwrapped> {
  const context: WrapContext = { cluster: sidecar.cluster, snapshot: sidecar.snapshot };
  const tried: Attempt[] = [];
  const failures: unknown[] = [];
  const attempt = async (what: string, open: () => Promise<Secret<string> | null>): Promise<Unwrapped | null> => {
    try {
      const identity = await open();
      if (identity === null) return null;
      await checkRecipient(identity, expect.recipient);
      return { identity, openedWith: what, tried };
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      failures.push(e);
      tried.push({ what, error: describeError(e) });
      return null;
    }
  };
  for (const { key, wrap } of kmsPairs(openers.kms, sidecar.wraps)) {
    const opened = await attempt(key.keyId, () => key.unwrap(wrap, context, signal));
    if (opened !== null) return opened;
  }
  for (const wrap of sidecar.wraps) {
    if (wrap.type !== 'age') continue;
    signal.throwIfAborted();
    const opened = await attempt(brief(wrap.recipient), () => unwrapWithIdentities(wrap, context, openers.identities));
    if (opened !== null) return opened;
  }
  throw nothingOpens(sidecar, openers, tried, failures);
}

/** For E_KEY_UNAVAILABLE: what is there, and what would be needed, for one that may only wrap. */
export const NEEDS_TO_OPEN =
  'opening needs kms:Decrypt on one of the keys, or a break-glass identity; a role with kms:Encrypt alone can wrap, and never open or repair';

/** E_KEY_UNAVAILABLE for wraps below the minimum, with what stood against each and what helps. */
export function tooFewWraps(there: number, needed: number, failures: readonly unknown[]): StrongroomError {
  const known = failures.filter((e) => isError(e));
  const why = known.map((e) => e.message).join('; ');
  const cures = [...new Set(known.flatMap(({ hint }) => (hint === undefined ? [] : [hint])))];
  return new StrongroomError(
    'E_KEY_UNAVAILABLE',
    `${there} KMS keys wrapped the snapshot's identity, and ${needed} must${why === '' ? '' : `: ${why}`}`,
    {
      hint: ['nothing was stored', ...cures, 'or lower minKmsWraps if a break-glass identity is at hand'].join('; '),
      retryable: known.some((e) => e.retryable),
      details: { failures: failures.map(describeError) },
      cause: failures.length === 1 ? failures[0] : new AggregateError(failures),
    },
  );
}

/** In the order of `keys`, each wrap that a key opens: its own before those of its replicas. */
function kmsPairs(keys: readonly KmsKey[], wraps: readonly Wrap[]): { key: KmsKey; wrap: KmsWrap }[] {
  return keys.flatMap((key) => {
    const mine = wraps.filter((wrap): wrap is KmsWrap => wrap.type === 'aws-kms' && key.opens(wrap));
    const own = mine.filter((wrap) => wrap.keyId === key.keyId);
    return [...own, ...mine.filter((wrap) => !own.includes(wrap))].map((wrap) => ({ key, wrap }));
  });
}

async function checkRecipient(identity: Secret<string>, expected: string | undefined): Promise<void> {
  if (expected === undefined || (await recipientOf(identity)) === expected) return;
  throw new StrongroomError('E_DECRYPT', 'the wrap opens, and holds the identity of another snapshot');
}

function nothingOpens(
  sidecar: Pick<Sidecar, 'cluster' | 'snapshot' | 'wraps'>,
  openers: Openers,
  tried: readonly Attempt[],
  failures: readonly unknown[],
): StrongroomError {
  const untried = sidecar.wraps
    .filter((wrap) => wrap.type === 'age' || !openers.kms.some((key) => key.opens(wrap)))
    .map((wrap) => (wrap.type === 'age' ? brief(wrap.recipient) : wrap.keyId))
    .filter((what) => !tried.some((attempt) => attempt.what === what))
    .map((what) => ({ what, error: 'no key or identity for it is configured here' }));
  const all = [...tried, ...untried];
  const list = all.map(({ what, error }) => `${what}: ${error}`).join('; ');
  return new StrongroomError(
    'E_KEY_UNAVAILABLE',
    `nothing opens the identity of ${sidecar.cluster} ${sidecar.snapshot} (${list})`,
    {
      hint: NEEDS_TO_OPEN,
      retryable: failures.some((e) => isError(e) && e.retryable),
      details: { tried: all },
      ...(failures.length === 0 ? {} : { cause: failures.length === 1 ? failures[0] : new AggregateError(failures) }),
    },
  );
}
