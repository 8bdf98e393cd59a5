/** Who can open (recipients) and what opens (identities): age key strings, checked, and never echoed when they are secret. */
import { Encrypter, generateHybridIdentity, generateX25519Identity, identityToRecipient } from 'age-encryption';
import { StrongroomError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';

export type RecipientKind = 'classic' | 'post-quantum';

const PREFIXES: readonly [string, RecipientKind][] = [
  ['age1pq1', 'post-quantum'],
  ['age1tagpq1', 'post-quantum'],
  ['age1tag1', 'classic'],
  ['age1', 'classic'],
];
const IDENTITY = /^AGE-SECRET-KEY-(?:PQ-)?1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]+$/;

/**
 * Checks `recipient` (prefix, length, checksum) and says what protects it. `age1…` and `age1tag1…` are classic, `age1pq1…` and
 * `age1tagpq1…` are post-quantum. Throws E_CONFIG_INVALID; what looks like a secret is not repeated in the message.
 */
export function recipientKind(recipient: string): RecipientKind {
  if (/^\s*age-secret-key/i.test(recipient)) {
    throw new StrongroomError('E_CONFIG_INVALID', 'a break-glass recipient is a secret identity, not a public key', {
      hint: 'configure the line "# public key: age1…"; treat the identity as disclosed and make a new one',
    });
  }
  const kind = PREFIXES.find(([prefix]) => recipient.startsWith(prefix))?.[1];
  try {
    if (kind === undefined) throw new RangeError('no known prefix');
    new Encrypter().addRecipient(recipient);
    return kind;
  } catch {
    // No cause: the library repeats the whole string in its message, and this may be anything that was pasted.
    throw new StrongroomError('E_CONFIG_INVALID', `${brief(recipient)} is not an age recipient`, {
      hint: 'a recipient begins with age1, is one line, and is what age-keygen prints as "public key"; plugins are not supported',
    });
  }
}

/**
 * The one kind of all `recipients`; classic when there are none. Throws E_CONFIG_INVALID for a mixture, because the
 * weakest recipient of a header decides, and for the same recipient twice, because that is one key and not two.
 */
export function commonKind(recipients: readonly string[]): RecipientKind {
  const kinds = new Set(recipients.map(recipientKind));
  if (kinds.size > 1) {
    throw new StrongroomError('E_CONFIG_INVALID', 'classic and post-quantum break-glass recipients are mixed', {
      hint: 'one classic recipient lets a quantum computer open the file: make all of them age1pq1…, or none',
    });
  }
  const twice = recipients.find((r, i) => recipients.indexOf(r) !== i);
  if (twice !== undefined) {
    throw new StrongroomError('E_CONFIG_INVALID', `the break-glass recipient ${brief(twice)} is listed twice`, {
      hint: 'a second recipient is a second key pair, kept in another place',
    });
  }
  return kinds.has('post-quantum') ? 'post-quantum' : 'classic';
}

/** A fresh identity with its recipient. The identity is the only thing that opens what the recipient closes. */
export async function newIdentity(kind: RecipientKind): Promise<{ identity: Secret<string>; recipient: string }> {
  const text = kind === 'classic' ? await generateX25519Identity() : await generateHybridIdentity();
  return { identity: new Secret(text), recipient: await identityToRecipient(text) };
}

/**
 * The identities in the text of an identity file: one per line, empty lines and `#` comments are skipped, as the `age`
 * program does. Throws E_CONFIG_INVALID naming the line, and never what is in it.
 */
export async function parseIdentities(text: Secret<string>): Promise<Secret<string>[]> {
  const found: Secret<string>[] = [];
  for (const [index, raw] of text.reveal().split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const identity = new Secret(line);
    await recipientOf(identity, `line ${index + 1}`);
    found.push(identity);
  }
  if (found.length === 0) {
    throw new StrongroomError('E_CONFIG_INVALID', 'there is no age identity in this text', {
      hint: 'an identity is a line that begins with AGE-SECRET-KEY-1',
    });
  }
  return found;
}

/** The recipient of `identity`. Throws E_CONFIG_INVALID when it is no native identity; `what` names it in the message. */
export async function recipientOf(identity: Secret<string>, what = 'the identity'): Promise<string> {
  const text = identity.reveal();
  try {
    if (!IDENTITY.test(text)) throw new RangeError('not the shape of an identity');
    return await identityToRecipient(text);
  } catch {
    // No cause: the library's checksum error contains the identity.
    throw new StrongroomError('E_CONFIG_INVALID', `${what} is not an age identity`, {
      hint: 'look for a typing or copying error: it begins with AGE-SECRET-KEY-1 and carries a checksum',
    });
  }
}

/** Enough of a recipient to find it, short enough for a line: a post-quantum one has 1,959 characters. */
export function brief(recipient: string): string {
  if (!recipient.startsWith('age1')) return 'a value that does not begin with age1';
  return recipient.length <= 80 ? recipient : `${recipient.slice(0, 24)}…`;
}
