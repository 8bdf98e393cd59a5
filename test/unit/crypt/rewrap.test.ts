import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import { unwrapIdentity, wrapIdentity } from '../../../src/crypt/keyring.ts';
import type { KmsKey } from '../../../src/crypt/kms.ts';
import { newIdentity } from '../../../src/crypt/recipients.ts';
import { type RewrapOptions, rewrapSidecar } from '../../../src/crypt/rewrap.ts';
import { parseSidecar, type Sidecar, serialiseSidecar } from '../../../src/crypt/sidecar.ts';
import { AWAY, CONTEXT, HOME, startWorld, type World } from './kms-world.ts';

const signal = new AbortController().signal;
const { identity, recipient } = await newIdentity('classic');
const glass = await newIdentity('classic');
const young = await newIdentity('classic');

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

function original(kms: KmsKey[]): Promise<Sidecar> {
  const now = new Date('2026-11-22T01:30:00Z');
  return wrapIdentity(identity, CONTEXT, { kms, breakGlass: [glass.recipient], policy: {}, now }, signal);
}

function rewrap(sidecar: Sidecar, kms: KmsKey[], change: Partial<RewrapOptions> & { breakGlass?: string[] } = {}) {
  const { breakGlass = [glass.recipient], ...options } = change;
  const defaults = { openers: { kms: [], identities: [] }, policy: {}, now: new Date('2027-01-01T00:00:00Z') };
  return rewrapSidecar(sidecar, { wanted: { kms, breakGlass }, ...defaults, ...options }, signal);
}

async function opens(sidecar: Sidecar, kms: KmsKey[], identities = [glass.identity].slice(1)): Promise<void> {
  const opened = await unwrapIdentity(sidecar, { kms, identities }, signal);
  expect(opened.identity.reveal()).toBe(identity.reveal());
}

async function failure(promise: Promise<unknown>): Promise<StrongroomError> {
  const error: unknown = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (error instanceof StrongroomError) return error;
  throw new Error(`no StrongroomError: ${String(error)}`);
}

describe('rewrapSidecar', () => {
  it('repairs a wrap that was missing, and raises the revision', async () => {
    const fault = world.kms.fail({ region: AWAY, with: 503 });
    const sidecar = await original([home, away]);
    fault.remove();
    const repaired = await rewrap(sidecar, [home, away], { recipient });
    expect(repaired.changes).toMatchObject({ added: [away.keyId], dropped: [], missing: [] });
    expect(repaired.sidecar).toMatchObject({ revision: 2, missing: [], rewrappedAt: '2027-01-01T00:00:00.000Z' });
    expect(repaired.sidecar.createdAt).toBe(sidecar.createdAt);
    expect(parseSidecar(serialiseSidecar(repaired.sidecar), CONTEXT)).toEqual(repaired.sidecar);
    await opens(repaired.sidecar, [away]);
  });

  it('changes nothing when there is nothing to change', async () => {
    const sidecar = await original([home, away]);
    const same = await rewrap(sidecar, [home, away]);
    expect(same.sidecar).toBe(sidecar);
    expect(same.changes).toEqual({ added: [], dropped: [], reencrypted: [], missing: [], failed: [] });
  });

  it('moves to a new key of the region by ReEncrypt alone, with a role that cannot decrypt', async () => {
    const sidecar = await original([home]);
    world.kms.grant('rotation', ['ReEncrypt', 'Encrypt']);
    const next = world.key(world.kms.createKey({ region: HOME }), 'rotation');
    world.kms.clearCalls();
    const moved = await rewrap(sidecar, [next]);
    expect(world.kms.calls.map((c) => c.operation)).toEqual(['ReEncrypt']);
    expect(moved.changes).toMatchObject({ added: [next.keyId], dropped: [home.keyId] });
    await opens(moved.sidecar, [world.key(next.keyId)]);
    expect((await failure(unwrapIdentity(moved.sidecar, { kms: [home], identities: [] }, signal))).code).toBe(
      'E_KEY_UNAVAILABLE',
    );
  });

  it('renews what is kept when asked, and keeps what it cannot renew', async () => {
    const sidecar = await original([home, away]);
    world.kms.fail({ region: AWAY, with: 503 });
    const { changes, sidecar: renewed } = await rewrap(sidecar, [home, away], { refresh: true });
    expect(changes.reencrypted).toEqual([home.keyId]);
    expect(changes.failed.map((f) => f.what)).toEqual([away.keyId]);
    expect(changes.failed[0]?.error).toMatch(/^E_KEY_UNAVAILABLE/);
    expect(renewed.wraps[0]).not.toEqual(sidecar.wraps[0]);
    expect(renewed.wraps[1]).toEqual(sidecar.wraps[1]);
    world.kms.heal();
    await opens(renewed, [home]);
    await opens(renewed, [away]);
  });

  it('replaces a break-glass recipient, and crosses regions with a break-glass identity', async () => {
    const sidecar = await original([home]);
    world.kms.destroyKey(home.keyId);
    const openers = { kms: [home], identities: [glass.identity] };
    const { sidecar: next, changes } = await rewrap(sidecar, [away], {
      breakGlass: [young.recipient],
      openers,
      recipient,
    });
    expect(changes).toMatchObject({
      added: [away.keyId, young.recipient],
      dropped: [home.keyId, glass.recipient],
    });
    await opens(next, [away]);
    await opens(next, [], [young.identity]);
    expect((await failure(opens(next, [], [glass.identity]))).code).toBe('E_KEY_UNAVAILABLE');
  });

  it('is beyond a writer, and says what repair takes', async () => {
    world.kms.grant('writer', ['Encrypt', 'DescribeKey']);
    const fault = world.kms.fail({ region: AWAY, with: 503 });
    const writers = [world.key(home.keyId, 'writer'), world.key(away.keyId, 'writer')];
    const sidecar = await original(writers);
    fault.remove();
    const error = await failure(rewrap(sidecar, writers));
    expect(error.code).toBe('E_KEY_UNAVAILABLE');
    expect(error.message).toMatch(/^cannot add a wrap: nothing opens/);
    expect(error.hint).toMatch(/kms:Decrypt on one of the keys, or a break-glass identity/);
  });

  it('never leaves fewer KMS wraps than the minimum', async () => {
    const sidecar = await original([home]);
    world.kms.fail({ region: AWAY, with: 503 });
    const openers = { kms: [home], identities: [] };
    const error = await failure(rewrap(sidecar, [away], { openers }));
    expect([error.code, error.retryable]).toEqual(['E_KEY_UNAVAILABLE', true]);
    expect((await failure(rewrap(sidecar, [home], { breakGlass: [] }))).code).toBe('E_CONFIG_INVALID');
  });

  it('records a wanted key that is still down, and drops the retired one only beside a good one', async () => {
    const retired = world.key(world.kms.createKey({ region: HOME }));
    const sidecar = await original([home, retired]);
    world.kms.fail({ region: AWAY, with: 503 });
    const { sidecar: next, changes } = await rewrap(sidecar, [home, away]);
    expect(changes).toMatchObject({ missing: [away.keyId], dropped: [retired.keyId], added: [] });
    expect(next.missing).toEqual([{ type: 'aws-kms', keyId: away.keyId, code: 'E_KEY_UNAVAILABLE' }]);
    await opens(next, [home]);
  });

  it('does not spread a planted identity when the recipient is known', async () => {
    const mallory = await newIdentity('classic');
    const sidecar = await original([home]);
    const planted = { ...sidecar, wraps: [await home.wrap(mallory.identity, CONTEXT, signal)] };
    const error = await failure(rewrap(planted, [home, away], { recipient, openers: { kms: [], identities: [] } }));
    expect(error.message).toMatch(/identity of another snapshot/);
  });

  it('adds no classic recipient to a post-quantum snapshot', async () => {
    const pq = await newIdentity('post-quantum');
    const now = new Date();
    const options = { kms: [home], breakGlass: [pq.recipient], policy: {}, now };
    const sidecar = await wrapIdentity(identity, CONTEXT, options, signal);
    expect((await failure(rewrap(sidecar, [home], { breakGlass: [young.recipient] }))).code).toBe('E_CONFIG_INVALID');
  });
});
