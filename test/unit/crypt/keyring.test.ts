import { armor, Encrypter } from 'age-encryption';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import type { Secret } from '../../../src/core/secret.ts';
import { wrapForRecipient } from '../../../src/crypt/age-wrap.ts';
import { unwrapIdentity, wrapIdentity } from '../../../src/crypt/keyring.ts';
import type { KmsKey } from '../../../src/crypt/kms.ts';
import { DECLINE_BREAK_GLASS, DECLINE_KMS, type RecipientPolicy } from '../../../src/crypt/policy.ts';
import { newIdentity } from '../../../src/crypt/recipients.ts';
import { parseSidecar, type Sidecar, serialiseSidecar } from '../../../src/crypt/sidecar.ts';
import { AWAY, CONTEXT, HOME, OTHER, startWorld, type World } from './kms-world.ts';

const signal = new AbortController().signal;
const now = new Date('2026-11-22T01:30:00Z');
const { identity, recipient } = await newIdentity('classic');
const glass = await newIdentity('classic');
const foreign = await newIdentity('classic');

let world: World;
let home: KmsKey;
let away: KmsKey;

beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world[Symbol.asyncDispose]());
beforeEach(() => {
  world.kms.heal();
  home = world.key(world.kms.createKey({ region: HOME }));
  away = world.key(world.kms.createKey({ region: AWAY }));
});

function wrap(policy: RecipientPolicy = {}, kms = [home, away], breakGlass = [glass.recipient]): Promise<Sidecar> {
  return wrapIdentity(identity, CONTEXT, { kms, breakGlass, policy, now }, signal);
}

async function failure(promise: Promise<unknown>): Promise<StrongroomError> {
  const error: unknown = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (error instanceof StrongroomError) return error;
  throw new Error(`no StrongroomError: ${String(error)}`);
}

describe('wrapIdentity', () => {
  it('wraps for every key and recipient, and what is stored comes back the same', async () => {
    const sidecar = await wrap();
    expect(sidecar.wraps.map((w) => (w.type === 'age' ? w.recipient : w.keyId))).toEqual([
      home.keyId,
      away.keyId,
      glass.recipient,
    ]);
    expect(sidecar).toMatchObject({ v: 1, ...CONTEXT, encryptionContext: CONTEXT, missing: [], revision: 1 });
    expect(sidecar.createdAt).toBe(now.toISOString());
    expect(parseSidecar(serialiseSidecar(sidecar), CONTEXT)).toEqual(sidecar);
  });

  it('asks all keys at once', async () => {
    world.kms.fail({ region: AWAY, with: 'hang' });
    const [a, b] = [
      world.key(away.keyId, 'root', 2_000),
      world.key(world.kms.createKey({ region: AWAY }), 'root', 2_000),
    ];
    const started = performance.now();
    await wrap({}, [a, b, home]);
    expect(performance.now() - started).toBeLessThan(3_800);
  });

  it('records a region that is down, and goes on', async () => {
    world.kms.fail({ region: HOME, with: 503 });
    const sidecar = await wrap();
    expect(sidecar.missing).toEqual([{ type: 'aws-kms', keyId: home.keyId, code: 'E_KEY_UNAVAILABLE' }]);
    expect(sidecar.wraps).toHaveLength(2);
  });

  it('fails below the minimum, and retries may help only where the failure says so', async () => {
    world.kms.fail({ region: HOME, with: 503 });
    const few = await failure(wrap({ minKmsWraps: 2 }));
    expect([few.code, few.retryable]).toEqual(['E_KEY_UNAVAILABLE', true]);
    expect(few.message).toMatch(
      /^1 KMS keys wrapped the snapshot's identity, and 2 must: kms:Encrypt with .* KMS failed inside$/,
    );
    expect(few.hint).toMatch(/^nothing was stored; try again; .*or lower minKmsWraps/);
    world.kms.heal();
    world.kms.disableKey(home.keyId);
    expect((await failure(wrap({}, [home]))).retryable).toBe(false);
  });

  it('makes no sidecar that nobody could open, whatever was declined', async () => {
    const policy = { accept: { noKms: DECLINE_KMS, noBreakGlass: DECLINE_BREAK_GLASS } };
    expect((await failure(wrap(policy, [], []))).code).toBe('E_KEY_UNAVAILABLE');
    world.kms.fail({ with: 503 });
    expect((await failure(wrap(policy, [home], []))).code).toBe('E_KEY_UNAVAILABLE');
    expect((await wrap(policy, [home], [glass.recipient])).wraps).toHaveLength(1);
  });

  it('wants a break-glass recipient unless declined in those very words', async () => {
    expect((await failure(wrap({}, [home], []))).code).toBe('E_CONFIG_INVALID');
    expect((await failure(wrap({ minBreakGlass: 0 }, [home], []))).code).toBe('E_CONFIG_INVALID');
    expect((await failure(wrap({ accept: { noBreakGlass: 'yes' } }, [home], []))).code).toBe('E_CONFIG_INVALID');
    expect((await wrap({ accept: { noBreakGlass: DECLINE_BREAK_GLASS } }, [home], [])).wraps).toHaveLength(1);
  });

  it('stops for an abort, and does not call it a missing key', async () => {
    world.kms.fail({ region: HOME, with: 'hang' });
    const controller = new AbortController();
    const reason = new Error('stopped by hand');
    const options = { kms: [home, away], breakGlass: [glass.recipient], policy: {}, now };
    const running = wrapIdentity(identity, CONTEXT, options, controller.signal);
    controller.abort(reason);
    await expect(running).rejects.toBe(reason);
  });
});

describe('unwrapIdentity', () => {
  const open = (sidecar: Sidecar, kms: KmsKey[], identities: Secret<string>[] = [], expected?: string) =>
    unwrapIdentity(sidecar, { kms, identities }, signal, expected === undefined ? {} : { recipient: expected });

  it('takes the first configured key that answers', async () => {
    const sidecar = await wrap();
    const opened = await open(sidecar, [away, home], [glass.identity], recipient);
    expect(opened.identity.reveal()).toBe(identity.reveal());
    expect(opened.openedWith).toBe(away.keyId);
    expect(opened.tried).toEqual([]);
  });

  it('goes on to the next key, and then to break glass, keeping every failure', async () => {
    const sidecar = await wrap();
    world.kms.fail({ region: AWAY, with: 503 });
    const second = await open(sidecar, [away, home]);
    expect(second.openedWith).toBe(home.keyId);
    expect(second.tried.map((t) => t.what)).toEqual([away.keyId]);
    expect(second.tried[0]?.error).toMatch(/^E_KEY_UNAVAILABLE: kms:Decrypt/);
    world.kms.destroyKey(home.keyId);
    const third = await open(sidecar, [away, home], [foreign.identity, glass.identity], recipient);
    expect(third.openedWith).toBe(glass.recipient);
    expect(third.tried.map((t) => t.what)).toEqual([away.keyId, home.keyId]);
    expect(third.identity.reveal()).toBe(identity.reveal());
  });

  it('names every way that was tried, and every wrap that nothing is configured for', async () => {
    const sidecar = await wrap();
    world.kms.fail({ region: AWAY, with: 503 });
    const error = await failure(open(sidecar, [away], [foreign.identity]));
    expect([error.code, error.retryable]).toEqual(['E_KEY_UNAVAILABLE', true]);
    for (const name of [away.keyId, home.keyId, glass.recipient]) expect(error.message).toContain(name);
    expect(error.details['tried']).toHaveLength(3);
    expect(error.hint).toMatch(/kms:Decrypt on one of the keys, or a break-glass identity/);
    expect((await failure(open(sidecar, []))).retryable).toBe(false);
  });

  it('cannot be done by a role that may only encrypt, and says what it takes', async () => {
    world.kms.grant('writer', ['Encrypt']);
    const writer = [world.key(home.keyId, 'writer'), world.key(away.keyId, 'writer')];
    const sidecar = await wrap({}, writer);
    expect(sidecar.wraps).toHaveLength(3);
    const error = await failure(open(sidecar, writer));
    expect(error.code).toBe('E_KEY_UNAVAILABLE');
    expect(error.message).toMatch(/access is denied/);
    expect(error.hint).toMatch(/a role with kms:Encrypt alone can wrap, and never open or repair/);
  });

  it('passes over wraps of another identity when the recipient is known', async () => {
    const mallory = await newIdentity('classic');
    const sidecar = await wrap();
    const planted = await home.wrap(mallory.identity, CONTEXT, signal);
    const poisoned = { ...sidecar, wraps: [planted, ...sidecar.wraps.slice(1)] };
    const opened = await open(poisoned, [home, away], [], recipient);
    expect(opened.openedWith).toBe(away.keyId);
    expect(opened.tried[0]?.error).toMatch(/identity of another snapshot/);
    expect((await open(poisoned, [home, away])).identity.reveal()).toBe(mallory.identity.reveal());
  });

  it('refuses wraps of another snapshot, of KMS by their context and of age by their comments', async () => {
    const sidecar = await wrap();
    const other = { ...sidecar, ...OTHER, encryptionContext: OTHER };
    const error = await failure(open(other, [home], [glass.identity]));
    expect(error.message).toMatch(/the wrap does not open with this key and encryption context/);
    expect(error.message).toMatch(/is of snapshot 01KAM8DB5G0000000000000000, not of 01KAM8DB5G0000000000000001/);
  });

  it('refuses break-glass wraps that are damaged or hold something else', async () => {
    const sidecar = await wrap();
    const encrypter = new Encrypter();
    encrypter.addRecipient(glass.recipient);
    const comments = `# cluster: ${CONTEXT.cluster}\n# snapshot: ${CONTEXT.snapshot}\n`;
    const file = (text: string): Promise<string> => encrypter.encrypt(text).then((bytes) => armor.encode(bytes));
    const good = await wrapForRecipient(identity, CONTEXT, glass.recipient);
    const bad = [
      good.ciphertext.replace(/\n(.{20})./, (_, start: string) => `\n${start}!`),
      good.ciphertext.replace(/(.{9})(={0,2}\n-----END)/, 'AAAAAAAAA$2'),
      await file(`${comments}hunter2\n`),
      await file(comments),
      await file(identity.reveal()),
      await file(`${comments}${identity.reveal()}\n${foreign.identity.reveal()}\n`),
    ];
    for (const ciphertext of bad) {
      const damaged = { ...sidecar, wraps: [{ ...good, ciphertext }] };
      const error = await failure(open(damaged, [], [glass.identity]));
      expect(error.code).toBe('E_KEY_UNAVAILABLE');
      expect(error.message).toContain(`${glass.recipient}: E_DECRYPT`);
      expect(error.details['tried']).toHaveLength(1);
      expect(JSON.stringify(error)).not.toMatch(/hunter2|AGE-SECRET-KEY/);
    }
  });
});
