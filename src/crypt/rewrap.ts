/** Changes who can open a snapshot, in its sidecar alone: the data object is not touched. */
import { describeError, isError, StrongroomError } from '../core/errors.ts';
import type { Secret } from '../core/secret.ts';
import { wrapForRecipient } from './age-wrap.ts';
import { NEEDS_TO_OPEN, type Openers, tooFewWraps, unwrapIdentity } from './keyring.ts';
import type { KmsKey, KmsWrap, WrapContext } from './kms.ts';
import { minimums, type RecipientPolicy } from './policy.ts';
import { brief, commonKind, recipientKind } from './recipients.ts';
import type { MissingWrap, Sidecar, Wrap } from './sidecar.ts';

export type RewrapOptions = {
  /** who shall be able to open from now on; wraps of all others are dropped */
  wanted: { kms: readonly KmsKey[]; breakGlass: readonly string[] };
  /** who can open now; retired keys included. The wanted keys are tried as well */
  openers: Openers;
  policy: RecipientPolicy;
  now: Date;
  /** also renew the wraps that are kept, by kms:ReEncrypt: after the material of a key was rotated */
  refresh?: boolean;
  /** the snapshot's recipient from its signed manifest; whatever opens must have it */
  recipient?: string;
};

/** Key ARNs and recipients. `failed` = could not be renewed, and was kept as it is. */
export type RewrapChanges = {
  added: string[];
  dropped: string[];
  reencrypted: string[];
  missing: string[];
  failed: { what: string; error: string }[];
};

/**
 * Adds the wraps that are wanted and absent, drops those no longer wanted, and raises the revision; a sidecar with nothing
 * to change comes back as it is, revision included. Inside one region kms:ReEncrypt does it without the identity leaving
 * KMS; otherwise the identity is opened once and wrapped again.
 *
 * Throws E_KEY_UNAVAILABLE when nothing opens and something must be added, or when fewer KMS wraps than the minimum would be
 * left: then nothing may be written. Older versions of an object-locked keys.json keep their wraps, so this retires a key
 * and does not revoke it; and a recipient in the data's own header stays one for good.
 */
export async function rewrapSidecar(
  sidecar: Sidecar,
  options: RewrapOptions,
  signal: AbortSignal,
): Promise<{ sidecar: Sidecar; changes: RewrapChanges }> {
  const least = minimums(options.policy);
  checkKinds(sidecar, options.wanted.breakGlass);
  const changes: RewrapChanges = { added: [], dropped: [], reencrypted: [], missing: [], failed: [] };
  const run = new Rewrap(sidecar, options, changes, signal);
  const wraps: Wrap[] = [];
  const missing: MissingWrap[] = [];
  const failures: unknown[] = [];
  for (const key of options.wanted.kms) {
    try {
      wraps.push(await run.kmsWrap(key));
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e) || e === run.cannotOpen) throw e;
      failures.push(e);
      missing.push({ type: 'aws-kms', keyId: key.keyId, code: e.code });
      changes.missing.push(key.keyId);
    }
  }
  if (wraps.length < least.kms) throw tooFewWraps(wraps.length, least.kms, failures);
  for (const recipient of options.wanted.breakGlass) wraps.push(await run.ageWrap(recipient));
  const ages = options.wanted.breakGlass.length;
  if (ages < least.breakGlass || wraps.length === 0) {
    throw new StrongroomError(
      'E_CONFIG_INVALID',
      `${ages} break-glass recipients would be left, and ${least.breakGlass} needed`,
    );
  }
  changes.dropped.push(...sidecar.wraps.map(nameOf).filter((name) => !wraps.some((wrap) => nameOf(wrap) === name)));
  const same =
    changes.added.length + changes.dropped.length + changes.reencrypted.length === 0 &&
    JSON.stringify(missing) === JSON.stringify(sidecar.missing);
  if (same) return { sidecar, changes };
  return {
    sidecar: { ...sidecar, wraps, missing, revision: sidecar.revision + 1, rewrappedAt: options.now.toISOString() },
    changes,
  };
}

class Rewrap {
  /** set when the identity had to be opened, and nothing did */
  cannotOpen: StrongroomError | undefined;
  readonly #sidecar: Sidecar;
  readonly #options: RewrapOptions;
  readonly #changes: RewrapChanges;
  readonly #signal: AbortSignal;
  readonly #context: WrapContext;
  #identity: Secret<string> | undefined;

  constructor(sidecar: Sidecar, options: RewrapOptions, changes: RewrapChanges, signal: AbortSignal) {
    this.#sidecar = sidecar;
    this.#options = options;
    this.#changes = changes;
    this.#signal = signal;
    this.#context = { cluster: sidecar.cluster, snapshot: sidecar.snapshot };
  }

  async kmsWrap(key: KmsKey): Promise<KmsWrap> {
    const sources = this.#sidecar.wraps.filter((wrap) => wrap.type === 'aws-kms');
    const own = sources.find((wrap) => wrap.keyId === key.keyId);
    if (own !== undefined) return this.#options.refresh === true ? this.#renew(key, own) : own;
    // kms:ReEncrypt works inside one region, and on a wrap of a replica of the same key.
    for (const source of sources.filter((wrap) => wrap.region === key.region || key.opens(wrap))) {
      try {
        const made = await key.rewrap(source, this.#context, this.#signal);
        this.#changes.added.push(key.keyId);
        return made;
      } catch (e) {
        this.#signal.throwIfAborted();
        if (!isError(e)) throw e;
      }
    }
    const made = await key.wrap(await this.#open(), this.#context, this.#signal);
    this.#changes.added.push(key.keyId);
    return made;
  }

  async ageWrap(recipient: string): Promise<Wrap> {
    const own = this.#sidecar.wraps.find((wrap) => wrap.type === 'age' && wrap.recipient === recipient);
    if (own !== undefined) return own;
    const made = await wrapForRecipient(await this.#open(), this.#context, recipient);
    this.#changes.added.push(brief(recipient));
    return made;
  }

  async #renew(key: KmsKey, own: KmsWrap): Promise<KmsWrap> {
    try {
      const made = await key.rewrap(own, this.#context, this.#signal);
      this.#changes.reencrypted.push(key.keyId);
      return made;
    } catch (e) {
      this.#signal.throwIfAborted();
      if (!isError(e)) throw e;
      this.#changes.failed.push({ what: key.keyId, error: describeError(e) });
      return own;
    }
  }

  async #open(): Promise<Secret<string>> {
    if (this.cannotOpen !== undefined) throw this.cannotOpen;
    if (this.#identity !== undefined) return this.#identity;
    const { openers, wanted, recipient } = this.#options;
    const known = new Set(openers.kms.map((key) => key.keyId));
    const all = { ...openers, kms: [...openers.kms, ...wanted.kms.filter((key) => !known.has(key.keyId))] };
    try {
      const expect = recipient === undefined ? {} : { recipient };
      this.#identity = (await unwrapIdentity(this.#sidecar, all, this.#signal, expect)).identity;
      return this.#identity;
    } catch (e) {
      if (!isError(e, 'E_KEY_UNAVAILABLE')) throw e;
      this.cannotOpen = new StrongroomError('E_KEY_UNAVAILABLE', `cannot add a wrap: ${e.message}`, {
        hint: NEEDS_TO_OPEN,
        retryable: e.retryable,
        details: e.details,
        cause: e,
      });
      throw this.cannotOpen;
    }
  }
}

function nameOf(wrap: Wrap): string {
  return wrap.type === 'age' ? brief(wrap.recipient) : wrap.keyId;
}

/** A classic wrap of a post-quantum identity would be its weakest door. The data's own kind shows in the wraps it came with. */
function checkKinds(sidecar: Sidecar, wanted: readonly string[]): void {
  const kind = commonKind(wanted);
  const had = sidecar.wraps.find((wrap) => wrap.type === 'age');
  if (wanted.length === 0 || had?.type !== 'age' || recipientKind(had.recipient) !== 'post-quantum') return;
  if (kind === 'post-quantum') return;
  throw new StrongroomError(
    'E_CONFIG_INVALID',
    'a classic break-glass recipient cannot be added to a post-quantum snapshot',
    {
      hint: 'use an age1pq1… recipient',
    },
  );
}
