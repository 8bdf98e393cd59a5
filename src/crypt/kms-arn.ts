/** Names of KMS keys, and when two of them mean the same key. */
import { StrongroomError } from '../core/errors.ts';

export type KeyArn = { readonly arn: string; readonly region: string; readonly account: string; readonly id: string };

const KEY_ARN = /^arn:aws[a-z-]*:kms:([a-z0-9-]+):(\d{12}):key\/([A-Za-z0-9-]+)$/;
const ALIAS_ARN = /^arn:aws[a-z-]*:kms:([a-z0-9-]+):\d{12}:alias\/.+$/;
const BARE_ID = /^(?:mrk-[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/i;

/** Parts of a full key ARN. Throws E_CONFIG_INVALID for anything else: an alias can be moved, and then wraps nothing opens. */
export function parseKeyArn(text: string): KeyArn {
  const match = KEY_ARN.exec(text);
  if (match?.[1] === undefined || match[2] === undefined || match[3] === undefined) {
    throw new StrongroomError('E_CONFIG_INVALID', `"${text}" is not the full ARN of a KMS key`, {
      hint: 'write arn:aws:kms:<region>:<account>:key/<id>; aws kms describe-key --key-id <alias> prints it as KeyMetadata.Arn',
    });
  }
  return { arn: text, region: match[1], account: match[2], id: match[3] };
}

/** What a seal's key id may be: a key (full ARN or bare id), an alias (which must be asked for), or not of KMS at all. */
export function classifyKeyId(text: string): 'key' | 'alias' | 'foreign' {
  if (KEY_ARN.test(text) || BARE_ID.test(text)) return 'key';
  return ALIAS_ARN.test(text) || text.startsWith('alias/') ? 'alias' : 'foreign';
}

/** The region of an alias ARN; null for a bare `alias/name`, which exists per region. */
export function aliasRegion(text: string): string | null {
  return ALIAS_ARN.exec(text)?.[1] ?? null;
}

/**
 * True when both name one key. Key ids are unique over accounts and regions, except that the replicas of a multi-region key
 * share theirs (`mrk-…`) along with the key material; so equal ids mean the same key, with or without an ARN around them.
 */
export function isSameKey(a: string, b: string): boolean {
  return bareId(a) === bareId(b);
}

/** True for a wrap by one replica of a multi-region key that another replica can open. */
export function isReplica(a: string, b: string): boolean {
  return bareId(a).startsWith('mrk-') && isSameKey(a, b);
}

function bareId(text: string): string {
  return text.slice(text.lastIndexOf('/') + 1).toLowerCase();
}
