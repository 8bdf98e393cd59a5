/** Holding the lease: renewed against all odds, and given up in time when it cannot be. */
import { describe, expect, it } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import { newRunId, newSnapshotId } from '../../../src/core/ids.ts';
import { createLog } from '../../../src/core/log.ts';
import type { Lease } from '../../../src/lease/lease.ts';
import { type Hooks, hooked } from '../../support/hooked-store.ts';
import { until } from '../../support/until.ts';
import { LeaseScene, never, on } from './scene.ts';

const TTL_MS = 600;
/** of a lease that is not to be lost by itself: a busy machine holds a process up for a second */
const LONG_MS = 6_000;

const gone = () => Promise.reject(new StrongroomError('E_STORE_UNREACHABLE', 'gone'));
const is = async (claim: boolean): Promise<true | undefined> => await Promise.resolve(claim || undefined);
const beats = async (scene: LeaseScene, count: number, where: 'a' | 'b' = 'a'): Promise<void> => {
  const { beat } = await scene.read(where);
  await until('more renewals', async () => ((await scene.read(where)).beat >= beat + count ? true : undefined));
};
const lost = async (lease: Lease): Promise<void> => {
  await until('the lease to be lost', () => is(lease.signal.aborted), { everyMs: 5 });
};

/** Blocks the one thread, as SIGSTOP does. */
const stopForATtl = (): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, TTL_MS);

describe.concurrent('a lease that is held', () => {
  it('is renewed for as long as it is held, and outlives its ttl', async () => {
    await using scene = await LeaseScene.open();
    await using lease = await scene.take({ ttlMs: LONG_MS });
    await beats(scene, 6);
    expect(lease.signal.aborted).toBe(false);
    expect(lease.heldIn).toEqual(['a']);
  });

  it('is not written any more once it is released', async () => {
    await using scene = await LeaseScene.open();
    const lease = await scene.take({ ttlMs: LONG_MS });
    await beats(scene, 2);
    await lease[Symbol.asyncDispose]();
    await lease[Symbol.asyncDispose]();
    const released = await scene.read();
    expect(released).toMatchObject({ state: 'released', snapshot: null });
    await using _next = await scene.take({ ttlMs: LONG_MS });
    await beats(scene, 2);
    expect(lease.signal.aborted).toBe(false);
  });

  it('has what is about to be published on record, in this write and in every later one', async () => {
    await using scene = await LeaseScene.open();
    await using lease = await scene.take({ stores: [scene.a, scene.b], ttlMs: LONG_MS });
    const snapshot = newSnapshotId(new Date());
    expect(await lease.willPublish(snapshot, never)).toEqual(['a', 'b']);
    for (const where of ['a', 'b'] as const) expect(await scene.read(where)).toMatchObject({ snapshot });
    await beats(scene, 1);
    expect(await scene.read()).toMatchObject({ snapshot, state: 'held' });
  });

  it('survives renewals that were carried out and whose answers were lost', async () => {
    await using scene = await LeaseScene.open();
    let losses = 0;
    const hooks: Hooks = {
      put: async (next) => {
        const stored = await next();
        losses += 1;
        if (losses % 2 === 0) return stored;
        throw new StrongroomError('E_STORE_UNREACHABLE', 'the answer was lost');
      },
    };
    const armed: Hooks = {};
    await using lease = await scene.take({ stores: [hooked(scene.a, armed)], ttlMs: LONG_MS });
    Object.assign(armed, hooks);
    await until('many lost answers', () => is(losses >= 6));
    expect(lease.signal.aborted).toBe(false);
    await lease.willPublish(newSnapshotId(new Date()), never).catch(() => undefined);
    expect(lease.signal.aborted).toBe(false);
    Object.assign(armed, { put: undefined });
    await lease.willPublish(newSnapshotId(new Date()), never);
  });

  it('survives a destination that is gone for a while, and says so once', async () => {
    await using scene = await LeaseScene.open();
    const lines: string[] = [];
    const log = createLog('info', { write: (line: string) => void lines.push(line) });
    const hooks: Hooks = {};
    await using lease = await scene.take({ stores: [scene.a, hooked(scene.b, hooks)], ttlMs: LONG_MS, log });
    hooks.put = gone;
    await until('it to be held in one only', () => is(lease.heldIn.join() === 'a'));
    const snapshot = newSnapshotId(new Date());
    expect(await lease.willPublish(snapshot, never)).toEqual(['a']);
    delete hooks.put;
    await until('it to be held in both', () => is(lease.heldIn.join() === 'a,b'));
    expect(await scene.read('b')).toMatchObject({ snapshot });
    expect(lease.signal.aborted).toBe(false);
    expect(lines.filter((line) => line.includes('could not be renewed'))).toHaveLength(1);
    expect(lines.filter((line) => line.includes('renewed there again'))).toHaveLength(1);
  });
});

describe.concurrent('a lease that is lost', () => {
  it('to silence: aborts before anybody else may have it', async () => {
    await using scene = await LeaseScene.open();
    const hooks: Hooks = {};
    let lastGood = 0;
    await using lease = await scene.take({
      ttlMs: LONG_MS,
      stores: [
        hooked(scene.a, {
          put: async (next, ...args) => {
            if (hooks.put !== undefined) return await hooks.put(next, ...args);
            lastGood = performance.now();
            return await next();
          },
        }),
      ],
    });
    await beats(scene, 2);
    hooks.put = gone;
    const waiting = scene.take({ self: on('far'), ttlMs: LONG_MS });
    await lost(lease);
    expect(performance.now() - lastGood).toBeLessThan(LONG_MS);
    expect(lease.signal.reason).toMatchObject({ code: 'E_LOCKED', details: { lost: 'silence' } });
    expect(lease.heldIn).toEqual([]);
    await expect(lease.willPublish(newSnapshotId(new Date()), never)).rejects.toBe(lease.signal.reason);
    await using next = await waiting;
    expect(next.token).toBe(2);
  });

  it('to silence, also when the store hangs and listens to no abort', async () => {
    await using scene = await LeaseScene.open();
    const hooks: Hooks = {};
    const hang = Promise.withResolvers<never>();
    hang.promise.catch(() => undefined);
    const lease = await scene.take({ stores: [hooked(scene.a, hooks)], ttlMs: TTL_MS });
    hooks.put = () => hang.promise;
    await lost(lease);
    expect(lease.signal.reason).toMatchObject({ details: { lost: 'silence' } });
    hang.reject(new StrongroomError('E_STORE_UNREACHABLE', 'at last'));
    delete hooks.put;
    await lease[Symbol.asyncDispose]();
    expect(await scene.read()).toMatchObject({ state: 'released' });
  });

  it.each(['any', 'all'] as const)('to another run in one destination, with need %s: at once', async (need) => {
    await using scene = await LeaseScene.open();
    await using lease = await scene.take({ need, stores: [scene.a, scene.b], ttlMs: LONG_MS });
    await scene.plant({ run: newRunId(new Date()), token: 2 }, 'b');
    await lost(lease);
    expect(lease.signal.reason).toMatchObject({ code: 'E_LOCKED', details: { lost: 'taken', store: 'b' } });
    await lease[Symbol.asyncDispose]();
    expect(await scene.read('a')).toMatchObject({ token: 1, state: 'released' });
    expect(await scene.read('b')).toMatchObject({ token: 2, state: 'held' });
  });

  it('in one of several that are all needed', async () => {
    await using scene = await LeaseScene.open();
    const hooks: Hooks = {};
    await using lease = await scene.take({ need: 'all', stores: [scene.a, hooked(scene.b, hooks)], ttlMs: TTL_MS });
    hooks.put = gone;
    await lost(lease);
    expect(lease.signal.reason).toMatchObject({ details: { lost: 'silence' } });
  });

  it('is found out by the announcement, before any renewal could', async () => {
    await using scene = await LeaseScene.open();
    await using lease = await scene.take({ ttlMs: 60_000 });
    await scene.plant({ token: 2 });
    const error = await lease.willPublish(newSnapshotId(new Date()), never).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'E_LOCKED', details: { lost: 'taken', run: 'theirs' } });
    expect(lease.signal.aborted).toBe(true);
    expect(await scene.read()).toMatchObject({ run: 'theirs', snapshot: null });
  });

  it('is found out by the clock, when the announcement took longer than the lease', async () => {
    await using scene = await LeaseScene.open();
    const hooks: Hooks = {};
    await using lease = await scene.take({ stores: [hooked(scene.a, hooks)], ttlMs: TTL_MS });
    // As a process that is stopped between the write and its answer: nothing of it runs, its timers neither.
    hooks.put = async (next) => {
      const stored = await next();
      delete hooks.put;
      stopForATtl();
      return stored;
    };
    const announced = lease.willPublish(newSnapshotId(new Date()), never).catch((e: unknown) => e);
    expect(await announced).toMatchObject({ code: 'E_LOCKED', details: { lost: 'silence' } });
    expect(lease.signal.aborted).toBe(true);
  });

  it('is found out by the clock, when the process wakes up right before the announcement', async () => {
    await using scene = await LeaseScene.open();
    await using lease = await scene.take({ ttlMs: TTL_MS });
    stopForATtl();
    const error = await lease.willPublish(newSnapshotId(new Date()), never).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'E_LOCKED', details: { lost: 'silence' } });
    expect(await scene.read()).toMatchObject({ snapshot: null });
  });

  it('is not waited for by an announcement that the store does not answer', async () => {
    await using scene = await LeaseScene.open();
    const hooks: Hooks = {};
    await using lease = await scene.take({ stores: [hooked(scene.a, hooks)], ttlMs: LONG_MS });
    const hang = Promise.withResolvers<never>();
    hooks.put = () => hang.promise;
    await expect(lease.willPublish(newSnapshotId(new Date()), never)).rejects.toMatchObject({
      code: 'E_STORE_UNREACHABLE',
      message: expect.stringContaining('could not be written within 2.0s') as string,
    });
    delete hooks.put;
    hang.reject(new StrongroomError('E_STORE_UNREACHABLE', 'at last'));
  });

  it('cannot be released any more, which is told and not thrown', async () => {
    await using scene = await LeaseScene.open();
    const lines: string[] = [];
    const log = createLog('warn', { write: (line: string) => void lines.push(line) });
    const hooks: Hooks = {};
    const lease = await scene.take({ stores: [hooked(scene.a, hooks)], log });
    hooks.put = gone;
    await lease[Symbol.asyncDispose]();
    expect(lines.join()).toContain('the next run waits until it has run out');
  });
});
