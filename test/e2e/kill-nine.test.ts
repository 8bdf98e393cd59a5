/** `kill -9` at any moment of a backup: nothing bad is ever visible, and the next run leaves no trace of the killed one. */
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { DeleteObjectCommand, GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { SnapshotId } from '../../src/core/ids.ts';
import { leaseKey, objectKey } from '../../src/store/layout.ts';
import type { S3Fault } from '../support/failing-s3.ts';
import type { S3Call, S3Operation } from '../support/failing-s3-operation.ts';
import { CLUSTER, KilledRuns, newIn } from '../support/killed-runs.ts';
import { s3Client } from '../support/s3-connection.ts';
import { seeded } from '../support/seeded.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { backUp } from '../support/strongroom-app.ts';
import { until } from '../support/until.ts';

const KILLS = 50;
/** A machine that becomes quicker meanwhile lets runs end before their moment; those do not count. */
const MAX_RUNS = 2 * KILLS;
const STATE_BYTES = 4 * 2 ** 20;
const SEED = Number(process.env['STRONGROOM_KILL_SEED'] ?? Date.now() % 2 ** 31);

let runs: KilledRuns;

beforeAll(async () => {
  runs = await KilledRuns.open(await sharedServer('versitygw'), STATE_BYTES);
});
afterAll(async () => {
  await runs?.[Symbol.asyncDispose]();
});

/** Was the run killed after it had made its note, and before it was done? */
async function noted(): Promise<boolean> {
  const names = await readdir(join(runs.world.spool, CLUSTER)).catch(() => []);
  return names.some((name) => name.endsWith('.run.json'));
}

describe(`killed at ${KILLS} random moments of its life (STRONGROOM_KILL_SEED=${SEED})`, () => {
  it('leaves nothing bad to be seen, and the next run is clean', async () => {
    // The first run fills the cache of compiled code, as on any machine that made a backup before.
    await measureRun();
    let lengthMs = await measureRun();
    const random = seeded(SEED);
    const seen = { 'before the note': 0, noted: 0, published: 0 };
    let attempts = 0;
    for (let kill = 0; kill < KILLS; ) {
      attempts += 1;
      if (attempts > MAX_RUNS) throw new Error(`only ${kill} of ${attempts} runs could be killed`);
      // Spread evenly over the whole run, each at random within its share.
      const momentMs = ((kill + random()) / KILLS) * lengthMs;
      const label = `seed ${SEED}, kill ${kill}, ${Math.round(momentMs)} of ${Math.round(lengthMs)} ms`;
      const before = await runs.held('a');
      const ran = await killAt(momentMs);
      if (ran.signal !== 'SIGKILL') {
        expect(ran.code, label).toBe(0);
        lengthMs = ran.ms;
        continue;
      }
      kill += 1;
      const after = await runs.held('a');
      if (after.manifests.size > before.manifests.size) seen.published += 1;
      else seen[(await noted()) ? 'noted' : 'before the note'] += 1;
      expect(await runs.badSights(), label).toEqual([]);
      const next = await backUp(runs.direct);
      expect(next, label).toMatchObject({ complete: true, missing: [] });
      runs.trust(next.manifest.snapshot);
      expect(await runs.leftovers(), label).toEqual([]);
    }
    expect(await runs.badSights({ all: true })).toEqual([]);
    // The moments were what they claim to be: some before, some in the middle of the work.
    expect(seen['before the note']).toBeGreaterThan(0);
    expect(seen.noted).toBeGreaterThan(0);
  });
});

async function measureRun(): Promise<number> {
  const ran = await killAt(undefined);
  expect(ran.code).toBe(0);
  return ran.ms;
}

async function killAt(
  momentMs: number | undefined,
): Promise<{ code: number | null; signal: string | null; ms: number }> {
  const begin = performance.now();
  const { child, finished } = runs.start(runs.direct);
  const over = new AbortController();
  const ended = once(child, 'exit').then(() => performance.now() - begin);
  void ended.then(() => over.abort());
  if (momentMs !== undefined) {
    await delay(momentMs, undefined, { signal: over.signal }).catch(() => undefined);
    child.kill('SIGKILL');
  }
  const ms = await ended;
  const { code, signal } = await finished;
  return { code, signal, ms };
}

describe('killed at a moment that chance rarely meets', () => {
  beforeEach(() => {
    for (const proxy of Object.values(runs.proxies)) proxy.reset();
  });

  const pass: S3Fault = { kind: 'headers', set: {} };
  const hang: S3Fault = { kind: 'hang' };
  const hold: S3Fault = { kind: 'hold-answer' };

  /** The lease is written more or less often: what counts is what belongs to the snapshot. */
  const ofSnapshot = ({ key }: S3Call): boolean => !key.endsWith(leaseKey(CLUSTER));

  /** Lets `nth` - 1 requests of a kind through to `where` and stops at the next. */
  function stopAt(where: 'a' | 'b', operation: S3Operation, nth: number, fault: S3Fault): void {
    if (nth > 1) runs.proxies[where].fail(operation, pass, nth - 1, ofSnapshot);
    runs.proxies[where].fail(operation, fault, 1, ofSnapshot);
  }

  function count(where: 'a' | 'b', operation: S3Operation): number {
    return runs.proxies[where].calls.filter((call) => call.operation === operation && ofSnapshot(call)).length;
  }

  /** Starts a run, waits until it is where it was stopped and `also` holds, and kills it. */
  async function killStopped(
    at: readonly (readonly [where: 'a' | 'b', operation: S3Operation, nth: number])[],
    also: () => Promise<boolean> = () => Promise.resolve(true),
  ): Promise<void> {
    const { child, finished } = runs.start(runs.aimed);
    try {
      const isThere = async () =>
        at.every(([where, operation, nth]) => count(where, operation) >= nth) && (await also());
      await until('the run is where it is to be killed', async () => ((await isThere()) ? true : undefined));
    } finally {
      child.kill('SIGKILL');
    }
    const { signal, stderr } = await finished;
    if (signal !== 'SIGKILL') throw new Error(`it ended before it was killed\n${stderr}`);
  }

  /** The one snapshot that is newer than all that were there before. */
  async function snapshotSince(before: ReadonlySet<SnapshotId>): Promise<SnapshotId> {
    const fresh = newIn((await runs.held('a')).keys, before);
    expect(fresh).toHaveLength(1);
    return fresh[0] as SnapshotId;
  }

  async function expectCleanRun(): Promise<void> {
    expect(await runs.badSights()).toEqual([]);
    expect(await backUp(runs.direct)).toMatchObject({ complete: true, missing: [] });
    expect(await runs.leftovers()).toEqual([]);
    expect(await runs.badSights()).toEqual([]);
  }

  const putsOf = { keys: 1, sigs: 2, manifests: 3 } as const;

  it('while it probes a destination', async () => {
    stopAt('b', 'create', 1, hold);
    await killStopped([['b', 'create', 1]], async () => (await runs.held('b')).uploads.length > 0);
    expect(await noted()).toBe(false);
    await expectCleanRun();
  });

  it('before the first part of an upload', async () => {
    stopAt('a', 'part', 1, hang);
    stopAt('b', 'part', 1, hang);
    await killStopped([
      ['a', 'part', 1],
      ['b', 'part', 1],
    ]);
    expect((await runs.held('a')).uploads).toHaveLength(1);
    await expectCleanRun();
  });

  it('when a destination has completed an upload and could not say so', async () => {
    const before = (await runs.held('b')).data;
    stopAt('b', 'complete', 1, hold);
    await killStopped([['b', 'complete', 1]], async () => (await runs.held('b')).data.size > before.size);
    await expectCleanRun();
    expect((await runs.held('b')).data.size).toBe(before.size + 1);
  });

  it('between the signatures and the manifests: nothing was published, and all of it goes', async () => {
    const before = (await runs.held('a')).keys;
    for (const where of ['a', 'b'] as const) stopAt(where, 'put', putsOf.manifests, hang);
    await killStopped([
      ['a', 'put', putsOf.manifests],
      ['b', 'put', putsOf.manifests],
    ]);
    const killed = await snapshotSince(before);
    expect((await runs.held('a')).sigs).toContain(killed);
    await expectCleanRun();
    for (const where of ['a', 'b'] as const) expect((await runs.held(where)).keys).not.toContain(killed);
  });

  it.each(['sigs', 'manifests'] as const)(
    'between the first manifest and the last, before the other %s',
    async (kind) => {
      const killed = await killBetweenManifests(kind);
      await expectCleanRun();
      await expectSameInBoth(killed);
    },
  );

  it('and the copy without a manifest was harmed meanwhile: it gets none', async () => {
    const killed = await killBetweenManifests('manifests');
    const client = s3Client(runs.server);
    try {
      const data = { Bucket: runs.buckets.b, Key: objectKey(CLUSTER, 'data', killed) };
      await client.send(new PutObjectCommand({ ...data, Body: 'something else' }));
    } finally {
      client.destroy();
    }
    expect(await backUp(runs.direct)).toMatchObject({ complete: true });
    expect((await runs.held('a')).manifests).toContain(killed);
    expect((await runs.held('b')).manifests).not.toContain(killed);
    // Nobody can heal it, so nobody tries for ever.
    expect(await noted()).toBe(false);
    await removeAll(killed);
    await expectCleanRun();
  });

  it('and its manifest arrives while the next run is at work: it finds its data', async () => {
    const before = (await runs.held('a')).keys;
    for (const where of ['a', 'b'] as const) stopAt(where, 'put', putsOf.manifests, where === 'a' ? hold : hang);
    await killStopped(
      [['b', 'put', putsOf.manifests]],
      async () => newIn((await runs.held('a')).manifests, before).length > 0,
    );
    const killed = await snapshotSince(before);
    const client = s3Client(runs.server);
    try {
      const manifest = { Bucket: runs.buckets.a, Key: objectKey(CLUSTER, 'manifests', killed) };
      const Body = await (await client.send(new GetObjectCommand(manifest))).Body?.transformToString();
      if (Body === undefined) throw new Error('a manifest without a body');
      await client.send(new DeleteObjectCommand(manifest));
      let late: Promise<unknown> | undefined;
      const onProgress = ({ stage }: { stage: string }) => {
        if (stage === 'snapshot') late ??= client.send(new PutObjectCommand({ ...manifest, Body }));
      };
      expect(await backUp({ ...runs.direct, onProgress })).toMatchObject({ complete: true });
      expect(late).toBeDefined();
      await late;
    } finally {
      client.destroy();
    }
    expect(await runs.leftovers()).toEqual([]);
    expect(await runs.badSights()).toEqual([]);
    await expectSameInBoth(killed);
  });

  /** A run that had published in `a` and not in `b`; `kind` is the first object that `b` lacks. */
  async function killBetweenManifests(kind: 'sigs' | 'manifests'): Promise<SnapshotId> {
    const before = (await runs.held('a')).keys;
    stopAt('b', 'put', putsOf[kind], hang);
    await killStopped(
      [['b', 'put', putsOf[kind]]],
      async () => newIn((await runs.held('a')).manifests, before).length > 0,
    );
    const killed = await snapshotSince(before);
    const b = await runs.held('b');
    expect(b.manifests).not.toContain(killed);
    expect(b.sigs.has(killed)).toBe(kind === 'manifests');
    return killed;
  }

  async function expectSameInBoth(snapshot: SnapshotId): Promise<void> {
    const client = s3Client(runs.server);
    try {
      for (const kind of ['sigs', 'manifests'] as const) {
        const [a, b] = await Promise.all(
          Object.values(runs.buckets).map(async (Bucket) => {
            const { Body } = await client.send(
              new GetObjectCommand({ Bucket, Key: objectKey(CLUSTER, kind, snapshot) }),
            );
            return await Body?.transformToString('base64');
          }),
        );
        expect(b).toBe(a);
      }
    } finally {
      client.destroy();
    }
  }

  async function removeAll(snapshot: SnapshotId): Promise<void> {
    const client = s3Client(runs.server);
    try {
      for (const Bucket of Object.values(runs.buckets)) {
        for (const kind of ['keys', 'data', 'sigs', 'manifests'] as const) {
          await client.send(new DeleteObjectCommand({ Bucket, Key: objectKey(CLUSTER, kind, snapshot) }));
        }
      }
    } finally {
      client.destroy();
    }
  }
});
