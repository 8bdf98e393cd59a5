/** Many clusters under watch: nobody waits for a dead one, and what was known grows old instead of going away. */
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import { createLog } from '../../../src/core/log.ts';
import type { ClusterStatus } from '../../../src/observe/cluster-status.ts';
import { unknownStatus } from '../../../src/observe/merge.ts';
import { Silence } from '../../../src/observe/silence.ts';
import { readStatus } from '../../../src/observe/status.ts';
import { Watch, type WatchOptions, type WatchTarget } from '../../../src/observe/watch.ts';
import { objectKey } from '../../../src/store/layout.ts';
import { until } from '../../support/until.ts';
import { at, HOUR, Scene } from './scene.ts';

const never = new AbortController().signal;
const limits = { maxAgeMs: 12 * HOUR, maxProofAgeMs: null, maxStatusAgeMs: null };
const target = (cluster: string): WatchTarget => ({ cluster, destinations: ['a', 'b'], limits: () => limits });
let scene: Scene;
let now: Date;
let said: string[];

beforeEach(async () => {
  scene = await Scene.create();
  now = at(7);
  said = [];
});
afterEach(async () => {
  await scene[Symbol.asyncDispose]();
});

function watch(read: WatchOptions['read'], change: Partial<WatchOptions> = {}): Watch {
  return new Watch({
    read,
    targets: [target('prod')],
    refreshEveryMs: 60_000,
    clock: { now: () => now },
    log: createLog('warn', { write: (line) => said.push(line) }),
    ...change,
  });
}

const fromScene: WatchOptions['read'] = (_cluster, time, { memory, silence }, signal) =>
  readStatus({ ...scene.deps, silence }, time, signal, memory);
const answered = (cluster: string): ClusterStatus => ({ ...unknownStatus(cluster, ['a'], null), readAt: now });
const statusOf = (watched: Watch, cluster = 'prod'): ClusterStatus => {
  const found = watched.current().find(({ status }) => status.cluster === cluster);
  if (found === undefined) throw new Error(`${cluster} is not watched`);
  return found.status;
};

describe('what was known', () => {
  it('stays when a destination goes away, and grows old', async () => {
    const whole = await scene.backup(at(0));
    await scene.proof(at(1), whole, 'b');
    await scene.run(at(0));
    const watched = watch(fromScene);
    await watched.round(never);
    const newest = await scene.backup(at(6), { in: ['a'] });
    await scene.takeAway('b');
    now = at(8);
    await watched.round(never);
    expect(statusOf(watched)).toMatchObject({
      readAt: at(8),
      newest: { snapshot: newest },
      newestWhole: { snapshot: whole },
      isWholeKnown: false,
      destinations: [
        { name: 'a', away: null, newest: { snapshot: newest } },
        {
          name: 'b',
          away: { code: 'E_STORE_BUCKET' },
          newest: { snapshot: whole },
          lastProofAt: at(1),
          badCopies: 0,
        },
      ],
    });
    await scene.takeAway('a');
    now = at(9);
    await watched.round(never);
    expect(statusOf(watched)).toMatchObject({
      readAt: at(8),
      newest: { snapshot: newest },
      newestWhole: { snapshot: whole },
      jobs: { backup: { failuresSince: 0 } },
      destinations: [{ badCopies: 0 }, { lastProofAt: at(1), badCopies: 0 }],
    });
    for (const name of ['a', 'b']) await scene.bringBack(name);
    now = at(10);
    await watched.round(never);
    expect(statusOf(watched)).toMatchObject({ readAt: at(10), isWholeKnown: true, newestWhole: { snapshot: whole } });
  });

  it('what was wrong is not right because another destination is away', async () => {
    await scene.backup(at(0));
    const planted = await scene.backup(at(6));
    const watched = watch(fromScene);
    await rm(scene.path('b', objectKey(scene.cluster, 'data', planted)));
    await watched.round(never);
    expect(statusOf(watched).destinations[1]?.problems).toHaveLength(1);
    await scene.takeAway('a');
    await watched.round(never);
    expect(statusOf(watched).destinations[1]?.problems).toHaveLength(1);
  });

  it('a backup that is gone is not kept: what can be asked is believed', async () => {
    const snapshot = await scene.backup(at(0));
    const watched = watch(fromScene);
    await watched.round(never);
    expect(statusOf(watched)).toMatchObject({ newestWhole: { snapshot } });
    for (const name of ['a', 'b']) await rm(scene.path(name, 'v1'), { recursive: true });
    await watched.round(never);
    expect(statusOf(watched)).toMatchObject({ newest: null, newestWhole: null, isWholeKnown: true });
  });

  it('a reading that fails makes every destination away, and is logged', async () => {
    const denied = new StrongroomError('E_CONFIG_INVALID', 'the key cannot be read');
    let isBroken = false;
    const watched = watch((...args) => (isBroken ? Promise.reject(denied) : fromScene(...args)));
    const snapshot = await scene.backup(at(6));
    await watched.round(never);
    isBroken = true;
    now = at(8);
    await watched.round(never);
    expect(statusOf(watched)).toMatchObject({
      readAt: at(7),
      newestWhole: { snapshot },
      destinations: [{ away: { code: 'E_CONFIG_INVALID' } }, { away: { code: 'E_CONFIG_INVALID' } }],
    });
    expect(said.join()).toContain('the key cannot be read');
  });
});

describe('the watch', () => {
  it('says of a cluster that was never read that nothing is known', () => {
    expect(watch(fromScene).current()).toMatchObject([
      { since: at(7), status: { cluster: 'prod', readAt: null, newestWhole: null, isWholeKnown: false } },
    ]);
  });

  it('reads at most four at once, and lets a dead one hold up none of the others', async () => {
    const names = ['dead', ...Array.from({ length: 12 }, (_, i) => `c${i}`)];
    let open = 0;
    let most = 0;
    const stop = new AbortController();
    const read: WatchOptions['read'] = async (cluster, _now, _kept, signal) => {
      open += 1;
      most = Math.max(most, open);
      try {
        if (cluster === 'dead') await once(signal, 'abort').then(() => signal.throwIfAborted());
        await new Promise((resolve) => setImmediate(resolve));
        return answered(cluster);
      } finally {
        open -= 1;
      }
    };
    const watched = watch(read, { targets: names.map(target) });
    const round = watched.round(stop.signal);
    await until('all but the dead one', async () => {
      const known = watched.current().filter(({ status }) => status.readAt !== null);
      return await Promise.resolve(known.length === 12 ? true : undefined);
    });
    expect(statusOf(watched, 'dead').readAt).toBeNull();
    expect(most).toBe(4);
    stop.abort();
    await round;
    expect(open).toBe(0);
  });

  it('goes on with the others while one is still being read, and does not ask that one twice', async () => {
    const asked = new Map<string, number>();
    const stop = new AbortController();
    const read: WatchOptions['read'] = async (cluster, _now, _kept, signal) => {
      asked.set(cluster, (asked.get(cluster) ?? 0) + 1);
      if (cluster === 'dead') await once(signal, 'abort').then(() => signal.throwIfAborted());
      if (asked.get('c') === 5) stop.abort();
      return answered(cluster);
    };
    const watched = watch(read, { targets: ['dead', 'c'].map(target), refreshEveryMs: 1 });
    await watched.run(stop.signal);
    expect(asked.get('dead')).toBe(1);
  });

  it('does not lose a reading under way when other clusters come', async () => {
    const { promise: answer, resolve } = Promise.withResolvers<ClusterStatus>();
    const watched = watch(() => answer);
    const round = watched.round(never);
    watched.retarget([target('prod'), target('new')]);
    resolve(answered('prod'));
    await round;
    expect(statusOf(watched).readAt).toEqual(now);
  });

  it('ends with a defect, and not in silence', async () => {
    const broken = { of: () => null, destinations: null } as unknown as ClusterStatus;
    await expect(watch(() => Promise.resolve(broken)).run(never)).rejects.toThrow(TypeError);
  });

  it('gives up a reading that hangs, and says so', async () => {
    const read: WatchOptions['read'] = async (_cluster, _now, _kept, signal) => {
      await once(signal, 'abort');
      throw signal.reason;
    };
    const watched = watch(read, { deadlineMs: 50 });
    await watched.round(never);
    expect(statusOf(watched).destinations).toMatchObject([
      { away: { code: 'E_TIMEOUT' } },
      { away: { code: 'E_TIMEOUT' } },
    ]);
  });

  it('goes round until it is stopped', async () => {
    let rounds = 0;
    const stop = new AbortController();
    const watched = watch(
      async (cluster) => {
        rounds += 1;
        if (rounds === 3) stop.abort();
        return await Promise.resolve(answered(cluster));
      },
      { refreshEveryMs: 1 },
    );
    await watched.run(stop.signal);
    expect(rounds).toBe(3);
  });

  it('takes other clusters, and keeps what it knows of those that stay', async () => {
    const watched = watch(async (cluster) => await Promise.resolve(answered(cluster)), {
      targets: [target('one'), target('two')],
    });
    await watched.round(never);
    now = at(8);
    watched.retarget([target('two'), target('three')]);
    expect(watched.current()).toMatchObject([
      { since: at(7), status: { cluster: 'two', readAt: at(7) } },
      { since: at(8), status: { cluster: 'three', readAt: null } },
    ]);
  });

  it('calls what it knows stale after five rounds, ten minutes at least', () => {
    const staleAfter = (refreshEveryMs: number) =>
      watch(fromScene, { refreshEveryMs }).current()[0]?.limits.maxStatusAgeMs;
    expect(staleAfter(60_000)).toBe(600_000);
    expect(staleAfter(600_000)).toBe(3_000_000);
  });
});

describe('a silent destination', () => {
  const silent = new StrongroomError('E_STORE_UNREACHABLE', 'b says nothing');
  const after = (seconds: number): Date => new Date(at(0).getTime() + seconds * 1000);

  it('is let alone for longer each time, until it answers', () => {
    const silence = new Silence();
    expect(silence.of('b', after(0))).toBeNull();
    let clock = 0;
    for (const wait of [30, 60, 120, 240, 240]) {
      silence.tell('b', new StrongroomError('E_STORE_UNREACHABLE', 'again'), after(clock));
      // Three more that were asked at the same moment.
      silence.tell('b', silent, after(clock));
      expect(silence.of('b', after(clock + wait - 1))).not.toBeNull();
      expect(silence.of('b', after(clock + wait))).toBeNull();
      clock += wait;
    }
    silence.tell('b', null, after(clock));
    silence.tell('b', silent, after(clock));
    expect(silence.of('b', after(clock + 30))).toBeNull();
    expect(silence.of('a', after(clock))).toBeNull();
  });

  it('is not one that answers with a refusal: that costs no time', () => {
    const silence = new Silence();
    silence.tell('b', new StrongroomError('E_STORE_DENIED', 'no'), after(0));
    expect(silence.of('b', after(1))).toBeNull();
  });

  it('is not asked by the next cluster either, and counts as away there', async () => {
    await scene.backup(at(6));
    const silence = new Silence();
    silence.tell('b', silent, at(7));
    const status = await readStatus({ ...scene.deps, silence }, at(7), never);
    expect(status).toMatchObject({ isWholeKnown: false, destinations: [{ away: null }, { away: silent }] });
  });
});
