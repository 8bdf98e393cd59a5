/** A month read from real directories: what was pruned, planted, lost or is away. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { newRunId } from '../../../src/core/ids.ts';
import { generateSigningKey } from '../../../src/crypt/generate.ts';
import { localSigner } from '../../../src/crypt/sign.ts';
import { type MonthFacts, readMonth } from '../../../src/report/facts.ts';
import { monthOf } from '../../../src/report/month.ts';
import { KINDS } from '../../../src/snapshots/presence.ts';
import { PlainSnapshots } from '../../support/plain-snapshots.ts';

const never = new AbortController().signal;
const NOW = new Date('2027-03-20T12:00:00Z');
const day = (date: number, month = 3): Date => new Date(Date.UTC(2027, month - 1, date, 6));

let on: PlainSnapshots;
beforeEach(async () => {
  on = await PlainSnapshots.create('a', 'b');
});
afterEach(() => on[Symbol.asyncDispose]());

async function read(now = NOW): Promise<MonthFacts> {
  const sources = { catalogue: await on.catalogue(), records: await on.records() };
  return await readMonth(sources, monthOf(now), now, never);
}

it('is empty where there is nothing', async () => {
  expect(await read()).toMatchObject({ runs: [], backups: [], copies: [], holds: [], lacks: [] });
});

it('takes the backups of the month and the one before it, safety snapshots left out', async () => {
  await on.publish(day(1, 2));
  const before = await on.publish(day(20, 2));
  await on.publish(day(25, 2), (plain) => ({ ...plain, purpose: 'safety' }));
  const first = await on.publish(day(2));
  const last = await on.publish(day(9));
  const { backups, copies, lacks } = await read();
  expect(backups).toEqual(
    [before, first, last].map(({ snapshot, createdAt }) => ({
      snapshot,
      at: new Date(createdAt),
      bytes: 2000,
      records: 10,
    })),
  );
  expect(copies).toHaveLength(10);
  expect(lacks).toEqual([]);
});

it('knows a backup that retention removed by its run, and one whose run was never recorded by its manifest', async () => {
  const records = await on.records();
  const gone = await on.publish(day(2));
  await records.writeRun(on.run(day(2), { snapshot: gone.snapshot }), never);
  const early = await on.publish(day(10, 2));
  await records.writeRun(on.run(day(10, 2), { snapshot: early.snapshot }), never);
  for (const { snapshot } of [gone, early]) {
    for (const name of ['a', 'b']) for (const kind of KINDS) await rm(on.path(name, kind, snapshot));
  }
  const unrecorded = await on.publish(day(5));
  const neverMade = await on.publish(day(6));
  await records.writeRun(on.run(day(6), { outcome: 'failed', snapshot: neverMade.snapshot }), never);
  for (const name of ['a', 'b']) await rm(on.path(name, 'manifests', neverMade.snapshot));
  const { backups, runs } = await read();
  expect(backups.map(({ snapshot, bytes }) => [snapshot, bytes])).toEqual([
    [early.snapshot, null],
    [gone.snapshot, null],
    [unrecorded.snapshot, 2000],
  ]);
  expect(runs.map(({ startedAt }) => startedAt)).toEqual([day(2).toISOString(), day(6).toISOString()]);
});

it('believes what is signed, and tells of what is not', async () => {
  const records = await on.records();
  const stranger = await on.records(localSigner(generateSigningKey().privateKeyPem));
  const { snapshot } = await on.publish(day(5));
  await records.writeProof(on.proof(snapshot, 'a', day(6), { verdict: 'bad' }), never);
  await stranger.writeProof(on.proof(snapshot, 'a', day(7)), never);
  await records.writeProof(on.proof(snapshot, 'b', day(6)), never);
  await stranger.writeRun(on.run(day(8)), never);
  const refused = await on.publish(day(9));
  for (const name of ['a', 'b']) await writeFile(on.path(name, 'sigs', refused.snapshot), 'nobody');
  const { copies, runs, backups, lacks } = await read();
  expect(copies.filter((copy) => copy.snapshot === snapshot)).toEqual([
    { snapshot, destination: 'a', proof: { verdict: 'bad', at: day(6) } },
    { snapshot, destination: 'b', proof: { verdict: 'good', at: day(6) } },
  ]);
  expect([runs, backups.length]).toEqual([[], 1]);
  expect(lacks).toHaveLength(2);
});

it('does not call a copy read that only the checksum of its store speaks for', async () => {
  const { snapshot } = await on.publish(day(5));
  await (await on.records()).writeProof(on.proof(snapshot, 'a', day(6), { level: 'checksum' }), never);
  expect((await read()).copies[0]).toEqual({ snapshot, destination: 'a', proof: null });
});

it('knows who holds what now', async () => {
  const records = await on.records();
  const stranger = await on.records(localSigner(generateSigningKey().privateKeyPem));
  const act = (snapshot: string, what: 'hold' | 'release', date: number, until: string | null = null) => ({
    schema: '1' as const,
    cluster: on.cluster,
    snapshot,
    id: newRunId(day(date)),
    act: what,
    at: day(date).toISOString(),
    who: 'ana',
    why: 'audit',
    until,
  });
  const [held, over, free, kept] = await Promise.all([5, 6, 7, 8].map(async (date) => await on.publish(day(date))));
  if (held === undefined || over === undefined || free === undefined || kept === undefined) throw new Error('none');
  await records.writeHold(act(held.snapshot, 'hold', 9), never);
  await records.writeHold(act(over.snapshot, 'hold', 9, day(19).toISOString()), never);
  await records.writeHold(act(free.snapshot, 'hold', 9), never);
  await records.writeHold(act(free.snapshot, 'release', 10), never);
  await records.writeHold(act(kept.snapshot, 'hold', 9, day(30).toISOString()), never);
  await stranger.writeHold(act(kept.snapshot, 'release', 10), never);
  const { holds, lacks } = await read();
  expect(holds.map(({ snapshot }) => snapshot)).toEqual([held.snapshot, kept.snapshot]);
  expect(lacks).toHaveLength(1);
});

it('tells of a destination that is away, and goes on with the others', async () => {
  await on.publish(day(5));
  await rm(join(on.root, 'a'), { recursive: true });
  const { backups, lacks } = await read();
  expect(backups).toHaveLength(1);
  expect(lacks[0]).toContain('"a"');
  await rm(join(on.root, 'b'), { recursive: true });
  await expect(read()).rejects.toMatchObject({ code: 'E_STORE_BUCKET' });
});
