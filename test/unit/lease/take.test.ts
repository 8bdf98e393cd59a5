/** Who gets the lease, and when: on real directories, with holders that are this process, a dead one, or on another host. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import { newSnapshotId } from '../../../src/core/ids.ts';
import { processStartTime } from '../../../src/core/process-start.ts';
import { thisProcess } from '../../../src/lease/holder.ts';
import type { Fence, Lease } from '../../../src/lease/lease.ts';
import { leaseKey } from '../../../src/store/layout.ts';
import type { Store } from '../../../src/store/store.ts';
import { hooked } from '../../support/hooked-store.ts';
import { until } from '../../support/until.ts';
import { cluster, LeaseScene, never, on } from './scene.ts';

const TTL_MS = 5_000;
/** of a lease that is not to be lost by itself: a busy machine holds a process up for a second */
const LONG_MS = 6_000;

const failing = (store: Store, code: 'E_STORE_UNREACHABLE' | 'E_STORE_DENIED' = 'E_STORE_UNREACHABLE'): Store => {
  const fail = () => Promise.reject(new StrongroomError(code, `${store.name} is gone`));
  return hooked(store, { put: fail, head: fail });
};

describe.concurrent('a lease that is free', () => {
  it('is held by one, says who it is, and is released without being deleted', async () => {
    await using scene = await LeaseScene.open();
    const lease = await scene.take({ stores: [scene.a, scene.b], door: 'strongroom backup' });
    expect(lease).toMatchObject({ token: 1, heldIn: ['a', 'b'] });
    expect(lease.signal.aborted).toBe(false);
    const { pid, host } = thisProcess();
    const held = { token: 1, state: 'held', snapshot: null, holder: { pid, host, door: 'strongroom backup' } };
    for (const where of ['a', 'b'] as const) expect(await scene.read(where)).toMatchObject(held);
    await lease[Symbol.asyncDispose]();
    for (const where of ['a', 'b'] as const) expect(await scene.read(where)).toMatchObject({ state: 'released' });
    await using next = await scene.take();
    expect(next.token).toBe(2);
  });

  it('tells how long it was waited for, whoever had it in the end', async () => {
    await using scene = await LeaseScene.open();
    const waits: number[] = [];
    const onWaited = (ms: number): void => void waits.push(ms);
    await using _lease = await scene.take({ onWaited });
    expect(waits).toHaveLength(1);
    expect(waits[0]).toBeLessThan(10_000);
    await expect(scene.take({ self: on('other'), waitMs: 300, onWaited })).rejects.toMatchObject({ code: 'E_LOCKED' });
    expect(waits).toHaveLength(2);
    expect(waits[1]).toBeGreaterThanOrEqual(300);
  });

  it('gets a token above every one that any destination knows', async () => {
    await using scene = await LeaseScene.open();
    await scene.plant({ state: 'released', token: 41 }, 'b');
    await using lease = await scene.take({ stores: [scene.a, scene.b] });
    expect(lease.token).toBe(42);
    expect((await scene.read('a')).token).toBe(42);
  });

  it('is had by exactly one of six that come at the same instant', async () => {
    await using scene = await LeaseScene.open();
    const stores = [scene.a, scene.b];
    const hosts = Array.from({ length: 6 }, (_, i) => `host-${i}`);
    const tries = await Promise.allSettled(
      hosts.map((host, i) => scene.take({ self: on(host), stores: i % 2 === 0 ? stores : stores.toReversed() })),
    );
    const holders = tries.flatMap((t) => (t.status === 'fulfilled' ? [t.value] : []));
    for (const holder of holders) await holder[Symbol.asyncDispose]();
    expect(holders).toHaveLength(1);
    for (const t of tries) if (t.status === 'rejected') expect(t.reason).toMatchObject({ code: 'E_LOCKED' });
  });

  it('is not taken on an aborted signal, and an abort while waiting rejects with its reason', async () => {
    await using scene = await LeaseScene.open();
    await using _held = await scene.take();
    const stop = new AbortController();
    const waiting = scene.take({ waitMs: 60_000, ttlMs: TTL_MS }, stop.signal);
    stop.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });
});

describe.concurrent('a holder that lives', () => {
  it('on this machine is believed at once', async () => {
    await using scene = await LeaseScene.open();
    await using _held = await scene.take({ door: 'strongroom job run backup' });
    const error = await scene.take().catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'E_LOCKED', details: { host: thisProcess().host, token: 1 } });
    expect(String(error)).toMatch(/strongroom job run backup on .+, process \d+\), since 20.+, last sign of life 20/);
  });

  it('on another machine is believed at its next sign of life', async () => {
    await using scene = await LeaseScene.open();
    await using held = await scene.take({ self: on('far'), ttlMs: LONG_MS });
    // Were it not renewed, it would be taken over after the ttl.
    await expect(scene.take({ ttlMs: LONG_MS })).rejects.toMatchObject({ code: 'E_LOCKED', details: { host: 'far' } });
    expect(held.heldIn).toEqual(['a']);
  });

  it.each([
    { who: 'nothing to do for who did not want to wait', waitMs: 0 },
    { who: 'the lease to who did', waitMs: 20_000 },
  ])('and ends meanwhile leaves $who', async ({ waitMs }) => {
    await using scene = await LeaseScene.open();
    const held = await scene.take({ self: on('far'), ttlMs: 60_000 });
    const looked = Promise.withResolvers<void>();
    const store = hooked(scene.a, {
      head: async (next) => {
        const found = await next();
        looked.resolve();
        return found;
      },
    });
    const outcome = scene.take({ stores: [store], ttlMs: 1_200, waitMs }).catch((e: unknown) => e);
    await looked.promise;
    await held[Symbol.asyncDispose]();
    if (waitMs === 0) {
      expect(await outcome).toMatchObject({ code: 'E_LOCKED', message: expect.stringContaining('ended at') as string });
      expect(await scene.read()).toMatchObject({ state: 'released', token: 1 });
      return;
    }
    await using lease = (await outcome) as Lease;
    expect(lease).toMatchObject({ token: 2 });
  });

  it('is waited for no longer than that', async () => {
    await using scene = await LeaseScene.open();
    await using _held = await scene.take();
    const begun = performance.now();
    await expect(scene.take({ waitMs: 300, ttlMs: TTL_MS })).rejects.toMatchObject({ code: 'E_LOCKED' });
    expect(performance.now() - begun).toBeGreaterThanOrEqual(300);
  });
});

describe.concurrent('a holder that is gone', () => {
  /** A process that was and is no more, as it names itself. */
  async function deadProcess(): Promise<{ pid: number; startTime: string }> {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
    const pid = child.pid ?? 0;
    const startTime = processStartTime(pid) ?? '';
    expect(startTime).not.toBe('');
    child.kill('SIGKILL');
    await once(child, 'exit');
    return { pid, startTime };
  }

  it('on this machine is replaced at once, and on another one of the same name it is not', async () => {
    await using scene = await LeaseScene.open();
    const dead = { ...thisProcess(), ...(await deadProcess()), door: 'test' };
    await scene.plant({ holder: { ...dead, space: 'another boot' }, ttlMs: 60_000 });
    const waiting = new AbortController();
    let looks = 0;
    const counted = hooked(scene.a, {
      head: async (next) => {
        looks += 1;
        return await next();
      },
    });
    const other = scene.take({ ttlMs: 2_000, stores: [counted] }, waiting.signal).catch((e: unknown) => e);
    await scene.plant({ holder: dead, ttlMs: 60_000, state: 'held' }, 'b');
    await using lease = await scene.take({ stores: [scene.b], ttlMs: 60_000 });
    expect(lease.token).toBe(8);
    await until('it to have looked, and gone on looking', async () => await Promise.resolve(looks > 2 || undefined));
    waiting.abort(new Error('still waiting'));
    expect(await other).toMatchObject({ message: 'still waiting' });
  });

  it('in this process is replaced at once, also when it could not release', async () => {
    await using scene = await LeaseScene.open();
    let isOver = false;
    const stuck = hooked(scene.a, {
      put: async (next) => {
        if (isOver) throw new StrongroomError('E_STORE_DENIED', 'no more writes');
        return await next();
      },
    });
    const held = await scene.take({ stores: [stuck] });
    await expect(scene.take()).rejects.toMatchObject({ code: 'E_LOCKED' });
    isOver = true;
    await held[Symbol.asyncDispose]();
    expect(await scene.read()).toMatchObject({ state: 'held', token: 1 });
    await using lease = await scene.take();
    expect(lease.token).toBe(2);
  });

  it('elsewhere is replaced after a ttl without a sign of life, and not before', async () => {
    await using scene = await LeaseScene.open();
    await scene.plant({});
    const begun = performance.now();
    await using lease = await scene.take({ ttlMs: TTL_MS });
    expect(performance.now() - begun).toBeGreaterThanOrEqual(TTL_MS);
    expect(lease.token).toBe(8);
  });

  it.each([-3_600_000, 3_600_000])(
    'or hangs, on this machine, by a clock that is %i ms off: replaced after a ttl, and fenced, for it may wake up',
    async (offMs) => {
      await using scene = await LeaseScene.open();
      const snapshot = newSnapshotId(new Date());
      const startTime = processStartTime(process.ppid);
      await scene.plant({
        snapshot,
        holder: { ...thisProcess(), pid: process.ppid, startTime, door: 'test' },
        renewedAt: new Date(Date.now() + offMs).toISOString(),
      });
      const fenced: string[] = [];
      const fence: Fence = async (id, stores) => {
        fenced.push(id);
        return await Promise.resolve(stores.map(({ name }) => name));
      };
      const begun = performance.now();
      await using _lease = await scene.take({ ttlMs: TTL_MS, fence });
      expect(performance.now() - begun).toBeGreaterThanOrEqual(TTL_MS);
      expect(fenced).toEqual([snapshot]);
    },
  );

  it('is given its own ttl where that is longer, up to a limit', async () => {
    await using scene = await LeaseScene.open();
    await scene.plant({ ttlMs: 2 * TTL_MS });
    const begun = performance.now();
    await using _lease = await scene.take({ ttlMs: TTL_MS });
    expect(performance.now() - begun).toBeGreaterThanOrEqual(2 * TTL_MS);
  });

  it.each(['not json', '{"schema":"9"}', 'x'.repeat(20_000)])(
    'may have left something unreadable: %.12s',
    async (text) => {
      await using scene = await LeaseScene.open();
      await scene.plant(text);
      const begun = performance.now();
      await using lease = await scene.take({ ttlMs: TTL_MS });
      expect(performance.now() - begun).toBeGreaterThanOrEqual(TTL_MS);
      expect(lease.token).toBe(1);
    },
  );

  describe('about to publish', () => {
    const snapshot = newSnapshotId(new Date());
    const older = newSnapshotId(new Date(Date.now() - 60_000));

    it('is fenced in every destination before the lease is had', async () => {
      await using scene = await LeaseScene.open();
      await scene.plant({ snapshot, fences: [older] });
      const fenced: [string, string[]][] = [];
      const fence: Fence = async (id, stores) => {
        expect(await scene.read('b')).toMatchObject({ token: 8, fences: expect.arrayContaining([id]) as unknown });
        fenced.push([id, stores.map(({ name }) => name)]);
        return stores.map(({ name }) => name);
      };
      await using _lease = await scene.take({ stores: [scene.a, scene.b], ttlMs: TTL_MS, fence });
      expect(fenced).toEqual([
        [older, ['a', 'b']],
        [snapshot, ['a', 'b']],
      ]);
      for (const where of ['a', 'b'] as const) expect(await scene.read(where)).toMatchObject({ fences: [] });
    });

    it('stays on record where it could not be fenced everywhere, through a release, for the next that can', async () => {
      await using scene = await LeaseScene.open();
      await scene.plant({ snapshot });
      const lease = await scene.take({ ttlMs: TTL_MS, fence: () => Promise.resolve([]) });
      await lease[Symbol.asyncDispose]();
      expect(await scene.read()).toMatchObject({ state: 'released', snapshot: null, fences: [snapshot] });
      const blind = await scene.take({ fence: null });
      await blind[Symbol.asyncDispose]();
      expect(await scene.read()).toMatchObject({ state: 'released', fences: [snapshot] });
      const fenced: string[] = [];
      await using _next = await scene.take({
        fence: async (id, stores) => {
          fenced.push(id);
          return await Promise.resolve(stores.map(({ name }) => name));
        },
      });
      expect(fenced).toEqual([snapshot]);
      expect(await scene.read()).toMatchObject({ fences: [] });
    });

    it('is not fenced when its process is dead: it cannot wake up, and what it sent is to find its data', async () => {
      await using scene = await LeaseScene.open();
      await scene.plant({ snapshot, holder: { ...thisProcess(), ...(await deadProcess()), door: 'test' } });
      await using _lease = await scene.take({ fence: () => Promise.reject(new Error('nothing to fence')) });
      expect(await scene.read()).toMatchObject({ fences: [], snapshot: null });
    });

    it('and a fence that fails gives the lease back', async () => {
      await using scene = await LeaseScene.open();
      await scene.plant({ snapshot });
      const fence = () => Promise.reject(new StrongroomError('E_KEY_UNAVAILABLE', 'no signer'));
      await expect(scene.take({ ttlMs: TTL_MS, fence })).rejects.toMatchObject({ code: 'E_KEY_UNAVAILABLE' });
      expect(await scene.read()).toMatchObject({ state: 'released', fences: [snapshot] });
    });
  });
});

describe.concurrent('destinations that do not answer', () => {
  it('are done without where any one is enough', async () => {
    await using scene = await LeaseScene.open();
    await using lease = await scene.take({ stores: [failing(scene.a), scene.b] });
    expect(lease.heldIn).toEqual(['b']);
    await expect(scene.take({ stores: [failing(scene.a), scene.b] })).rejects.toMatchObject({ code: 'E_LOCKED' });
  });

  it('are refused where all are needed, and nothing stays taken', async () => {
    await using scene = await LeaseScene.open();
    const onlyRead = hooked(scene.b, {
      put: () => Promise.reject(new StrongroomError('E_STORE_DENIED', 'b is read-only')),
    });
    for (const b of [failing(scene.b, 'E_STORE_DENIED'), onlyRead]) {
      await expect(scene.take({ need: 'all', stores: [scene.a, b] })).rejects.toMatchObject({ code: 'E_STORE_DENIED' });
    }
    expect(await scene.read('a')).toMatchObject({ state: 'released' });
    await using lease = await scene.take({ need: 'all', stores: [scene.a, scene.b] });
    expect(lease.heldIn).toEqual(['a', 'b']);
  });

  it('all of them: the error of the store itself', async () => {
    await using scene = await LeaseScene.open();
    const stores = [failing(scene.a, 'E_STORE_DENIED'), failing(scene.b, 'E_STORE_DENIED')];
    await expect(scene.take({ stores })).rejects.toMatchObject({ code: 'E_STORE_DENIED' });
  });

  it('are given up after the time that was set', async () => {
    await using scene = await LeaseScene.open();
    const silent = hooked(scene.a, {
      head: (_next, _key, { signal }) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true })),
    });
    await expect(scene.take({ stores: [silent], answerMs: 50 })).rejects.toMatchObject({ code: 'E_STORE_UNREACHABLE' });
  });

  it('that refuse every write without a reason are not asked for ever', async () => {
    await using scene = await LeaseScene.open();
    const odd = hooked(scene.a, { put: () => Promise.reject(new StrongroomError('E_STORE_CONFLICT', 'no')) });
    await expect(scene.take({ stores: [odd], ttlMs: 100 })).rejects.toMatchObject({ code: 'E_STORE_CONFLICT' });
  });

  it('whose answer to the taking is lost have it taken all the same', async () => {
    await using scene = await LeaseScene.open();
    let isLost = false;
    const store = hooked(scene.a, {
      put: async (next) => {
        const stored = await next();
        if (isLost) return stored;
        isLost = true;
        throw new StrongroomError('E_STORE_CONFLICT', 'sent twice by something between');
      },
    });
    await using lease = await scene.take({ stores: [store] });
    expect(lease).toMatchObject({ token: 1, heldIn: ['a'] });
    await lease.willPublish(newSnapshotId(new Date()), never);
  });
});

it.concurrent('removed by hand ends its holder, and is free', async () => {
  await using scene = await LeaseScene.open();
  await using held = await scene.take({ ttlMs: LONG_MS });
  await rm(join(scene.root, 'a', leaseKey(cluster)));
  await until('the holder to stop', async () => await Promise.resolve(held.signal.aborted || undefined));
  expect(held.signal.reason).toMatchObject({ code: 'E_LOCKED', message: expect.stringContaining('removed') as string });
  await using next = await scene.take();
  expect(next.heldIn).toEqual(['a']);
});
