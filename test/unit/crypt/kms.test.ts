import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import { Secret } from '../../../src/core/secret.ts';
import { KmsKey } from '../../../src/crypt/kms.ts';
import { kmsClientOptions } from '../../../src/crypt/kms-call.ts';
import { newIdentity } from '../../../src/crypt/recipients.ts';
import { AWAY, CONTEXT, HOME, OTHER, startWorld, type World } from './kms-world.ts';

let world: World;
let arn: string;
const signal = new AbortController().signal;
const { identity } = await newIdentity('classic');

beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world[Symbol.asyncDispose]());
beforeEach(() => {
  world.kms.heal();
  arn = world.kms.createKey({ region: HOME });
});

async function failure(promise: Promise<unknown>): Promise<StrongroomError> {
  const error: unknown = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (error instanceof StrongroomError) return error;
  throw new Error(`no StrongroomError: ${String(error)}`);
}

describe('a KMS key', () => {
  it('wraps and unwraps, bound to its context, and the plaintext can be piped into age', async () => {
    const key = world.key(arn);
    const wrap = await key.wrap(identity, CONTEXT, signal);
    expect(wrap).toMatchObject({ type: 'aws-kms', region: HOME, keyId: arn });
    expect((await key.unwrap(wrap, CONTEXT, signal)).reveal()).toBe(identity.reveal());
    const [call] = world.kms.calls.filter((c) => c.operation === 'Encrypt' && c.keyArn === arn);
    expect(call?.context).toEqual(CONTEXT);
  });

  it('takes nothing but a full key ARN of its own region', () => {
    const client = world.client(HOME);
    for (const keyId of ['alias/backup', arn.replace(/key\/.*/, 'alias/backup'), arn.split('/')[1] ?? '']) {
      expect(() => new KmsKey({ client, keyId, region: HOME })).toThrow(
        expect.objectContaining({ code: 'E_CONFIG_INVALID' }),
      );
    }
    expect(() => new KmsKey({ client, keyId: arn, region: AWAY })).toThrow(/not a key of eu-west-1/);
  });

  it('does not open with another context, another key, or changed bytes', async () => {
    const key = world.key(arn);
    const wrap = await key.wrap(identity, CONTEXT, signal);
    const second = world.key(world.kms.createKey({ region: HOME }));
    const bytes = Buffer.from(wrap.ciphertext, 'base64');
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    for (const attempt of [
      () => key.unwrap(wrap, OTHER, signal),
      () => second.unwrap(wrap, CONTEXT, signal),
      () => key.unwrap({ ...wrap, ciphertext: bytes.toString('base64') }, CONTEXT, signal),
      () => key.unwrap({ ...wrap, ciphertext: 'AAAA' }, CONTEXT, signal),
    ]) {
      const error = await failure(attempt());
      expect(error.code).toBe('E_DECRYPT');
      expect(error.retryable).toBe(false);
      expect(error.message).toMatch(/^kms:Decrypt with arn:.* in eu-central-1: the wrap/);
    }
  });

  it('refuses what opens and is no identity, without repeating it', async () => {
    const key = world.key(arn);
    const wrap = await key.wrap(new Secret('hunter2 is not an identity'), CONTEXT, signal);
    const error = await failure(key.unwrap(wrap, CONTEXT, signal));
    expect(error.code).toBe('E_DECRYPT');
    expect(JSON.stringify(error)).not.toContain('hunter2');
  });

  it('opens a wrap of another replica of a multi-region key, where its own region is down', async () => {
    const primary = world.kms.createKey({ region: HOME, multiRegion: true });
    const replica = world.kms.replicateKey(primary, AWAY);
    const wrap = await world.key(primary).wrap(identity, CONTEXT, signal);
    world.kms.fail({ region: HOME, with: 'refuse' });
    const away = world.key(replica);
    expect(away.opens(wrap)).toBe(true);
    expect((await away.unwrap(wrap, CONTEXT, signal)).reveal()).toBe(identity.reveal());
    expect(world.key(arn).opens(wrap)).toBe(false);
  });

  it('rewraps from another key of its region inside KMS', async () => {
    const [from, to] = [world.key(arn), world.key(world.kms.createKey({ region: HOME }))];
    const wrap = await from.wrap(identity, CONTEXT, signal);
    world.kms.clearCalls();
    const moved = await to.rewrap(wrap, CONTEXT, signal);
    expect(world.kms.calls.map((c) => c.operation)).toEqual(['ReEncrypt']);
    expect(moved.keyId).toBe(to.keyId);
    expect((await to.unwrap(moved, CONTEXT, signal)).reveal()).toBe(identity.reveal());
    expect((await failure(to.rewrap(wrap, OTHER, signal))).code).toBe('E_DECRYPT');
  });
});

describe('the error table', () => {
  const table: [string, () => void, string, boolean, RegExp][] = [
    ['throttled', () => world.kms.fail({ with: 'throttle' }), 'E_KEY_UNAVAILABLE', true, /too many requests/],
    ['500', () => world.kms.fail({ with: 500 }), 'E_KEY_UNAVAILABLE', true, /KMS failed inside/],
    ['503', () => world.kms.fail({ with: 503 }), 'E_KEY_UNAVAILABLE', true, /KMS/],
    ['connection destroyed', () => world.kms.fail({ with: 'refuse' }), 'E_KEY_UNAVAILABLE', true, /cannot be reached/],
    [
      'unavailable',
      () => world.kms.fail({ with: 'KeyUnavailableException' }),
      'E_KEY_UNAVAILABLE',
      true,
      /at the moment/,
    ],
    [
      'unknown credentials',
      () => world.kms.fail({ with: 'UnrecognizedClientException' }),
      'E_KEY_UNAVAILABLE',
      false,
      /credentials/,
    ],
    [
      'expired credentials',
      () => world.kms.fail({ with: 'ExpiredTokenException' }),
      'E_KEY_UNAVAILABLE',
      false,
      /expired/,
    ],
    [
      'a name of tomorrow',
      () => world.kms.fail({ with: 'BrandNewException' }),
      'E_KEY_REFUSED',
      false,
      /BrandNewException, 400/,
    ],
    ['disabled', () => world.kms.disableKey(arn), 'E_KEY_REFUSED', false, /the key is disabled/],
    ['pending deletion', () => world.kms.scheduleKeyDeletion(arn), 'E_KEY_REFUSED', false, /pending deletion/],
    ['denied', () => world.kms.fail({ with: 'AccessDeniedException' }), 'E_KEY_REFUSED', false, /access is denied/],
  ];

  it.each(table)('%s', async (_name, harm, code, retryable, says) => {
    const key = world.key(arn);
    const wrap = await key.wrap(identity, CONTEXT, signal);
    harm();
    for (const attempt of [
      () => key.wrap(identity, CONTEXT, signal),
      () => key.unwrap(wrap, CONTEXT, signal),
      () => key.rewrap(wrap, CONTEXT, signal),
    ]) {
      const error = await failure(attempt());
      expect([error.code, error.retryable]).toEqual([code, retryable]);
      expect(error.message).toMatch(says);
      expect(error.message).toContain(`${arn} in ${HOME}`);
      expect(error.hint).toBeDefined();
      expect(JSON.stringify(error) + String(error.stack)).not.toContain(identity.reveal());
    }
  });

  it('no such key, and a port where nobody listens', async () => {
    const absent = arn.replace(/[^/]*$/, '00000000-0000-4000-8000-000000000000');
    const error = await failure(world.key(absent).wrap(identity, CONTEXT, signal));
    expect([error.code, error.retryable]).toEqual(['E_KEY_REFUSED', false]);
    await using gone = await startWorld();
    const dead = gone.key(gone.kms.createKey({ region: HOME }));
    await gone.kms.stop();
    const refused = await failure(dead.wrap(identity, CONTEXT, signal));
    expect([refused.code, refused.retryable]).toEqual(['E_KEY_UNAVAILABLE', true]);
  });

  it('a region that hangs costs its deadline and no more', async () => {
    world.kms.fail({ region: HOME, with: 'hang' });
    const started = performance.now();
    const error = await failure(world.key(arn, 'root', 150).wrap(identity, CONTEXT, signal));
    expect([error.code, error.retryable]).toEqual(['E_KEY_UNAVAILABLE', true]);
    expect(error.message).toMatch(/no answer within 0.15 s/);
    expect(performance.now() - started).toBeLessThan(10_000);
  });

  it('the deadline also ends what does not listen to signals, such as a credential look-up', async () => {
    const { KMSClient } = await import('@aws-sdk/client-kms');
    const client = new KMSClient({
      ...kmsClientOptions(HOME),
      endpoint: world.kms.url,
      credentials: () => new Promise(() => undefined),
    });
    const error = await failure(new KmsKey({ client, keyId: arn, region: HOME, deadlineMs: 50 }).check(signal));
    expect(error.message).toMatch(/no answer within 0.05 s/);
    client.destroy();
  });

  it('an abort rejects with its reason, before and during a call', async () => {
    world.kms.fail({ region: HOME, with: 'hang' });
    const reason = new Error('stopped by hand');
    const controller = new AbortController();
    const running = world.key(arn).wrap(identity, CONTEXT, controller.signal);
    controller.abort(reason);
    await expect(running).rejects.toBe(reason);
    await expect(world.key(arn).check(controller.signal)).rejects.toBe(reason);
  });

  it('a role that may only encrypt wraps, and cannot open', async () => {
    world.kms.grant('writer', ['Encrypt'], arn);
    const writer = world.key(arn, 'writer');
    const wrap = await writer.wrap(identity, CONTEXT, signal);
    for (const attempt of [() => writer.unwrap(wrap, CONTEXT, signal), () => writer.rewrap(wrap, CONTEXT, signal)]) {
      expect((await failure(attempt())).code).toBe('E_KEY_REFUSED');
    }
    expect((await world.key(arn).unwrap(wrap, CONTEXT, signal)).reveal()).toBe(identity.reveal());
  });
});

describe('check', () => {
  it('passes an enabled key', async () => {
    expect(await world.key(arn).check(signal)).toEqual({ state: 'enabled', cautions: [] });
  });

  it('names the date of a pending deletion', async () => {
    world.kms.scheduleKeyDeletion(arn, 7);
    const error = await failure(world.key(arn).check(signal));
    expect(error.code).toBe('E_KEY_REFUSED');
    const date = /will be deleted on (\S+)$/.exec(error.message)?.[1] ?? '';
    const days = (Date.parse(date) - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(6.9);
    expect(days).toBeLessThan(7.1);
  });

  it('refuses a disabled key and keys for other uses', async () => {
    world.kms.disableKey(arn);
    expect((await failure(world.key(arn).check(signal))).message).toMatch(/its state is Disabled/);
    const signing = world.kms.createKey({ region: HOME, spec: 'ECC_NIST_P256' });
    expect((await failure(world.key(signing).check(signal))).message).toMatch(/is for SIGN_VERIFY/);
  });

  // States that the emulator does not have: its answers with one field changed on their way in.
  it.each([
    [{ KeySpec: 'RSA_4096' }, /is a RSA_4096 key, which knows no encryption context/],
    [{ KeyState: 'PendingImport' }, /has no key material/],
    [{ KeyState: 'PendingReplicaDeletion' }, /waiting for its deletion/],
    [{ KeyState: 'Unavailable' }, /is not available at the moment/, 'E_KEY_UNAVAILABLE'],
  ])('refuses %o', async (change, says, code = 'E_KEY_REFUSED') => {
    const error = await failure(changed(change).check(signal));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(says);
  });

  it('warns of key material that expires', async () => {
    const ValidTo = new Date('2027-01-02T03:04:05Z');
    const { state, cautions } = await changed({ ExpirationModel: 'KEY_MATERIAL_EXPIRES', ValidTo }).check(signal);
    expect(state).toBe('enabled');
    expect(cautions.join()).toMatch(/expires on 2027-01-02/);
  });

  function changed(change: Record<string, unknown>): KmsKey {
    const client = world.client(HOME);
    client.middlewareStack.add(
      (next) => async (args) => {
        const result = await next(args);
        const { output } = result;
        if ('KeyMetadata' in output) Object.assign(output.KeyMetadata ?? {}, change);
        return result;
      },
      { step: 'initialize' },
    );
    return new KmsKey({ client, keyId: arn, region: HOME });
  }

  it('tolerates a role without DescribeKey, and says so', async () => {
    world.kms.grant('blind', ['Encrypt']);
    const found = await world.key(arn, 'blind').check(signal);
    expect(found.state).toBe('unchecked');
    expect(found.cautions.join()).toMatch(/kms:DescribeKey/);
  });

  it('tells a region that is down from a key that is refused', async () => {
    world.kms.fail({ with: 503 });
    expect((await failure(world.key(arn).check(signal))).code).toBe('E_KEY_UNAVAILABLE');
  });
});
