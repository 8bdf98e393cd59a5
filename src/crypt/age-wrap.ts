/** A snapshot's identity as a small armored age file for one break-glass recipient. */
import { armor, Decrypter, Encrypter } from 'age-encryption';
import { isError, StrongroomError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import type { WrapContext } from './kms.ts';
import { brief, parseIdentities, recipientOf } from './recipients.ts';
import type { AgeWrap } from './sidecar.ts';

/**
 * Wraps `identity` for `recipient`, with the context as comment lines that `age -i` passes over. Nothing is asked of anybody:
 * it fails only for a recipient that is none (E_CONFIG_INVALID).
 */
export async function wrapForRecipient(
  identity: Secret<string>,
  context: WrapContext,
  recipient: string,
): Promise<AgeWrap> {
  const encrypter = new Encrypter();
  encrypter.addRecipient(recipient);
  const file = await encrypter.encrypt(
    `# cluster: ${context.cluster}\n# snapshot: ${context.snapshot}\n${identity.reveal()}\n`,
  );
  return { type: 'age', recipient, ciphertext: armor.encode(file) };
}

/**
 * The identity in `wrap`, or null when none of `identities` belongs to its recipient. Throws E_DECRYPT when one does and the
 * wrap is broken, or when its comment lines name another cluster or snapshot.
 */
export async function unwrapWithIdentities(
  wrap: AgeWrap,
  context: WrapContext,
  identities: readonly Secret<string>[],
): Promise<Secret<string> | null> {
  for (const [index, identity] of identities.entries()) {
    const recipient = await recipientOf(identity, `identity ${index + 1} of ${identities.length}`);
    if (recipient === wrap.recipient) return unwrap(wrap, context, identity);
  }
  return null;
}

async function unwrap(wrap: AgeWrap, context: WrapContext, opener: Secret<string>): Promise<Secret<string>> {
  const what = `the wrap for ${brief(wrap.recipient)}`;
  let text: Secret<string>;
  try {
    const decrypter = new Decrypter();
    decrypter.addIdentity(opener.reveal());
    text = new Secret(await decrypter.decrypt(armor.decode(wrap.ciphertext), 'text'));
  } catch (e) {
    throw broken(`${what} does not open: ${e instanceof Error ? e.message : String(e)}`);
  }
  checkContext(text, context, what);
  try {
    const found = await parseIdentities(text);
    if (found[0] !== undefined && found.length === 1) return found[0];
  } catch (e) {
    if (!isError(e)) throw e;
  }
  throw broken(`${what} opens, and does not hold one age identity`);
}

/** Public-key encryption has no sender: without this, a wrap of another snapshot would pass as one of this. */
function checkContext(text: Secret<string>, context: WrapContext, what: string): void {
  for (const [name, expected] of Object.entries(context)) {
    const named = new RegExp(`^# ${name}: (.*)$`, 'm').exec(text.reveal())?.[1];
    if (named === expected) continue;
    // Only what has the shape of a name is repeated: this text is decrypted.
    const shown = named !== undefined && /^[A-Za-z0-9-]{1,63}$/.test(named) ? named : 'another, or none';
    throw broken(`${what} is of ${name} ${shown}, not of ${expected}`);
  }
}

function broken(message: string): StrongroomError {
  return new StrongroomError('E_DECRYPT', message, {
    hint: 'use another wrap, or an older version of keys.json; a break-glass identity opens the data without it',
  });
}
