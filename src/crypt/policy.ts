/** Which keys a cluster's backups must be wrapped by, and which they must not. */
import { describeError, type ErrorCode, isError, StrongroomError } from '../core/errors.ts';
import type { KmsKey } from './kms.ts';
import { aliasRegion, classifyKeyId, isSameKey } from './kms-arn.ts';
import { commonKind } from './recipients.ts';

/** What `accept.noBreakGlass` must say, word by word: nobody declines by a stray `0`. */
export const DECLINE_BREAK_GLASS = 'when the KMS keys are lost, every backup is lost';
/** What `accept.noKms` must say, word by word. */
export const DECLINE_KMS = 'when the break-glass identities are lost, every backup is lost';

export type RecipientPolicy = {
  /** KMS keys that must be configured, and must have wrapped before a backup counts; default 1 */
  minKmsWraps?: number;
  /** break-glass recipients that must be configured; default 1, better 2, kept in different places */
  minBreakGlass?: number;
  /** {@link DECLINE_BREAK_GLASS} and {@link DECLINE_KMS}: without these words a minimum is at least 1; with them 0 is the default */
  accept?: { noBreakGlass?: string; noKms?: string };
};

export type Minimums = { kms: number; breakGlass: number };

export type ConfiguredKeys = {
  kms: readonly KmsKey[];
  breakGlass: readonly string[];
  /** `ArchiveReport.seal.keyIds`: what unseals the cluster */
  sealKeyIds: readonly string[];
};

/** The numbers a policy asks for. E_CONFIG_INVALID for a 0 that is not declined in words, or for other words. */
export function minimums(policy: RecipientPolicy): Minimums {
  const { noBreakGlass, noKms } = policy.accept ?? {};
  return {
    kms: minimum(policy.minKmsWraps, noKms, 'minKmsWraps', DECLINE_KMS),
    breakGlass: minimum(policy.minBreakGlass, noBreakGlass, 'minBreakGlass', DECLINE_BREAK_GLASS),
  };
}

/**
 * Refuses keys that would not help on the day: too few or the same twice, mixed kinds (E_CONFIG_INVALID); disabled, pending
 * deletion, or **the key that also unseals the cluster** (E_KEY_REFUSED), because one deletion would then take the cluster
 * and its backups. A region that does not answer is a caution and no refusal: wrapping decides whether enough keys are there.
 * Several refusals are one error, `details.problems` lists them. Needs kms:DescribeKey where that is allowed.
 */
export async function checkRecipients(
  policy: RecipientPolicy,
  keys: ConfiguredKeys,
  signal: AbortSignal,
): Promise<{ cautions: string[] }> {
  checkCounts(minimums(policy), keys);
  commonKind(keys.breakGlass);
  const cautions: string[] = [];
  const problems: StrongroomError[] = [];
  const collect = (results: readonly PromiseSettledResult<string[]>[]): void => {
    signal.throwIfAborted();
    for (const result of results) {
      if (result.status === 'fulfilled') cautions.push(...result.value);
      else if (isError(result.reason, 'E_KEY_UNAVAILABLE')) cautions.push(describeError(result.reason));
      else if (isError(result.reason)) problems.push(result.reason);
      else throw result.reason;
    }
  };
  collect(await Promise.allSettled(keys.sealKeyIds.map((id) => checkSealKey(id, keys.kms, signal))));
  collect(await Promise.allSettled(keys.kms.map(async (key) => (await key.check(signal)).cautions)));
  const [first, ...others] = problems;
  if (first === undefined) return { cautions };
  if (others.length === 0) throw first;
  const code: ErrorCode = first.code;
  throw new StrongroomError(code, `${first.message} (and ${others.length} more)`, {
    ...(first.hint === undefined ? {} : { hint: first.hint }),
    details: { problems: problems.map(describeError) },
    cause: new AggregateError(problems),
  });
}

function minimum(configured: number | undefined, words: string | undefined, name: string, expected: string): number {
  if (words !== undefined && words !== expected) {
    throw new StrongroomError('E_CONFIG_INVALID', `what is accepted for ${name} is not said`, {
      hint: `to decline, write exactly: ${expected}`,
    });
  }
  const least = words === undefined ? 1 : 0;
  const value = configured ?? least;
  if (Number.isInteger(value) && value >= least) return value;
  throw new StrongroomError('E_CONFIG_INVALID', `${name} is ${value}`, {
    hint: `it must be a whole number, and at least 1 unless this is accepted in words: ${expected}`,
  });
}

function checkCounts(least: Minimums, keys: ConfiguredKeys): void {
  if (keys.kms.length + keys.breakGlass.length === 0) {
    throw new StrongroomError('E_CONFIG_INVALID', 'there is no KMS key and no break-glass recipient', {
      hint: 'somebody must be able to open the backups: configure at least one of the two',
    });
  }
  if (keys.kms.length < least.kms) {
    throw new StrongroomError(
      'E_CONFIG_INVALID',
      `${keys.kms.length} KMS keys are configured, and ${least.kms} needed`,
      {
        hint: 'add a key, or say in declineKms why none is needed',
      },
    );
  }
  if (keys.breakGlass.length < least.breakGlass) {
    throw new StrongroomError(
      'E_CONFIG_INVALID',
      `${keys.breakGlass.length} break-glass recipients are configured, and ${least.breakGlass} needed`,
      { hint: 'make one and store its identity offline, or say in declineBreakGlass why none is needed' },
    );
  }
  const ids = keys.kms.map((key) => key.keyId);
  const twice = ids.find((id, i) => ids.indexOf(id) !== i);
  if (twice !== undefined) {
    throw new StrongroomError('E_CONFIG_INVALID', `the KMS key ${twice} is listed twice`, {
      hint: 'a second wrap by the same key saves nothing: name a key of another region',
    });
  }
}

/** Cautions; throws E_KEY_REFUSED when `sealKeyId` is one of `kms`, directly, as a replica, or behind an alias. */
async function checkSealKey(sealKeyId: string, kms: readonly KmsKey[], signal: AbortSignal): Promise<string[]> {
  const kind = classifyKeyId(sealKeyId);
  if (kind === 'foreign') return [];
  const names = kind === 'key' ? [sealKeyId] : await resolveAlias(sealKeyId, kms, signal);
  for (const name of names) {
    const same = kms.find((key) => isSameKey(key.keyId, name));
    if (same === undefined) continue;
    const behind = kind === 'alias' ? ` (${sealKeyId})` : '';
    throw new StrongroomError('E_KEY_REFUSED', `${same.keyId} also unseals the cluster${behind}`, {
      hint: 'whoever deletes it takes the cluster and its backups at once: wrap with a key of its own, best in another account',
      details: { keyId: same.keyId, sealKeyId },
    });
  }
  return names.length > 0 || kms.length === 0
    ? []
    : [
        `it is not known whether the seal key ${sealKeyId} is one of the wrapping keys: the alias could not be resolved`,
      ];
}

/** Asked in the alias's own region; a bare alias exists per region, so every region is asked. */
async function resolveAlias(alias: string, kms: readonly KmsKey[], signal: AbortSignal): Promise<string[]> {
  const region = aliasRegion(alias);
  const asked = kms.filter((key) => region === null || key.region === region);
  const answers = await Promise.allSettled(asked.map((key) => key.resolve(alias, signal)));
  signal.throwIfAborted();
  return answers.flatMap((answer) => (answer.status === 'fulfilled' && answer.value !== null ? [answer.value] : []));
}
