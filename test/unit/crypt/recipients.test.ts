import { describe, expect, it } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import { Secret } from '../../../src/core/secret.ts';
import { commonKind, newIdentity, parseIdentities, recipientKind, recipientOf } from '../../../src/crypt/recipients.ts';

const classic = await newIdentity('classic');
const pq = await newIdentity('post-quantum');

function spoiled(identity: Secret<string>): string {
  const text = identity.reveal();
  return `${text.slice(0, -1)}${text.endsWith('Q') ? 'P' : 'Q'}`;
}

describe('recipients', () => {
  it('have a kind, hardware ones included', () => {
    expect(recipientKind(classic.recipient)).toBe('classic');
    expect(recipientKind(pq.recipient)).toBe('post-quantum');
    expect(commonKind([])).toBe('classic');
    expect(commonKind([pq.recipient])).toBe('post-quantum');
  });

  it('a pasted identity is refused, and not repeated', () => {
    for (const text of [
      classic.identity.reveal(),
      ` ${pq.identity.reveal()}`,
      classic.identity.reveal().toLowerCase(),
    ]) {
      expect(() => recipientKind(text)).toThrow(/is a secret identity/);
      try {
        recipientKind(text);
      } catch (e) {
        expect(JSON.stringify(e).toUpperCase()).not.toContain(text.trim().slice(20).toUpperCase());
      }
    }
  });
});

describe('identities', () => {
  it('are read as age reads an identity file', async () => {
    const text = `# created: x\n\n${classic.identity.reveal()}\r\n  ${pq.identity.reveal()}\n# end`;
    const found = await parseIdentities(new Secret(text));
    expect(found.map((id) => id.reveal())).toEqual([classic.identity.reveal(), pq.identity.reveal()]);
    expect(await recipientOf(pq.identity)).toBe(pq.recipient);
  });

  it('with a typing error are named by their line, and by nothing of their text', async () => {
    for (const identity of [classic.identity, pq.identity]) {
      const text = spoiled(identity);
      const error: unknown = await parseIdentities(new Secret(`# one\n${text}\n`)).catch((e: unknown) => e);
      if (!(error instanceof StrongroomError)) throw new Error('nothing was refused');
      expect(error.code).toBe('E_CONFIG_INVALID');
      expect(error.message).toBe('line 2 is not an age identity');
      expect(`${JSON.stringify(error)}${String(error.stack)}${String(error.cause)}`).not.toContain(text.slice(20, 40));
    }
  });

  it('an empty file is refused', async () => {
    await expect(parseIdentities(new Secret('# nothing\n'))).rejects.toMatchObject({ code: 'E_CONFIG_INVALID' });
  });
});
