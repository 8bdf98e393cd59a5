/** Who was a member in the last backups, by real manifests; and what of it nobody declared. */
import { rm } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Member } from '../../../src/catalogue/members.ts';
import type { SnapshotId } from '../../../src/core/ids.ts';
import type { BackupMembers } from '../../../src/observe/cluster-status.ts';
import { driftOf, type MembershipRules } from '../../../src/observe/membership.ts';
import { keepKnown } from '../../../src/observe/merge.ts';
import { RecordMemory } from '../../../src/observe/record-memory.ts';
import { readStatus } from '../../../src/observe/status.ts';
import { judge } from '../../../src/observe/verdict.ts';
import { objectKey } from '../../../src/store/layout.ts';
import { at, HOUR, Scene } from './scene.ts';

const never = new AbortController().signal;
const n = (number: number, port = 8201): Member => ({ id: `n${number}`, address: `10.0.0.${number}:${port}` });
const three = [n(1), n(2), n(3)];
const none: MembershipRules = { inventory: [], windows: [] };
const from = (hour: number, members: readonly Member[]): BackupMembers => ({
  snapshot: `${hour}` as SnapshotId,
  at: at(hour),
  members,
  previous: null,
});

describe('drift', () => {
  it('is unknown where there is nothing to compare with', () => {
    expect(driftOf([], none, at(9))).toBeNull();
    expect(driftOf([], { ...none, inventory: three }, at(9))).toBeNull();
    expect(driftOf([from(6, three)], none, at(9))).toBeNull();
  });

  it.each<[string, readonly Member[], RegExp]>([
    ['a member that is new', [...three, n(4)], /^raft member n4 at 10\.0\.0\.4:8201 is new since 2027-03-10T05:00:00/],
    ['one that is gone', [n(1), n(2)], /^raft member n3 at 10\.0\.0\.3:8201 is gone since /],
    ['one that moved', [n(1), n(2), n(3, 9)], /^raft member n3 moved from 10\.0\.0\.3:8201 to 10\.0\.0\.3:9 since /],
  ])('without an inventory is %s, as long as a backup before it is looked at', (_what, members, text) => {
    const changed = from(6, members);
    const before = from(5, three);
    expect(driftOf([changed, before], none, at(6))).toEqual([expect.stringMatching(text)]);
    expect(driftOf([from(8, members), from(7, members), changed, before], none, at(9))).toEqual([
      expect.stringMatching(text),
    ]);
    expect(driftOf([from(8, members), from(7, members), changed], none, at(9))).toEqual([]);
  });

  it('is none in another order, nor while a window was open between the two backups', () => {
    expect(driftOf([from(6, three.toReversed()), from(5, three)], none, at(9))).toEqual([]);
    const changed = [from(6, [n(1), n(2)]), from(4, three)];
    const within = (a: number, b: number) =>
      driftOf(changed, { ...none, windows: [{ from: at(a), to: at(b) }] }, at(9));
    expect(within(4.5, 5)).toEqual([]);
    expect(within(3, 4)).toEqual([]);
    expect(within(6, 7)).toEqual([]);
    expect(within(2, 3.9)).toHaveLength(1);
    expect(within(6.1, 9)).toHaveLength(1);
  });

  it('with an inventory is what differs from it, whatever was before', () => {
    const rules = { ...none, inventory: three };
    expect(driftOf([from(6, three), from(5, [n(1), n(2)])], rules, at(9))).toEqual([]);
    expect(driftOf([from(6, [n(1), n(2), n(3, 9), n(4)]), from(5, three)], rules, at(9))).toEqual([
      'raft member n3 is at 10.0.0.3:9, but the inventory says 10.0.0.3:8201',
      'raft member n4 at 10.0.0.4:8201 is a stranger to the inventory',
    ]);
    expect(driftOf([from(6, [n(1), n(2)])], rules, at(9))).toEqual(['raft member n3 of the inventory is absent']);
  });

  it('from an inventory is excused while a window was open since the newest backup, and not by an old or a coming one', () => {
    const within = (a: number, b: number) =>
      driftOf([from(6, [n(1)])], { inventory: three, windows: [{ from: at(a), to: at(b) }] }, at(9));
    expect(within(7, 8)).toEqual([]);
    expect(within(5, 6)).toEqual([]);
    expect(within(9, 10)).toEqual([]);
    expect(within(4, 5.9)).toHaveLength(2);
    expect(within(9.1, 10)).toHaveLength(2);
  });
});

describe('the members of stored backups', () => {
  let scene: Scene;
  let last: SnapshotId | null;

  beforeEach(async () => {
    scene = await Scene.create();
    last = null;
  });
  afterEach(async () => {
    await scene[Symbol.asyncDispose]();
  });

  /** A backup that continues the last one. */
  async function backup(hour: number, members: readonly Member[]): Promise<SnapshotId> {
    const previous = last === null ? null : { snapshot: last, manifestSha256: 'a'.repeat(64), index: 1 };
    last = await scene.backup(at(hour), { members, manifest: { previous } });
    return last;
  }
  const limits = { maxAgeMs: 12 * HOUR, maxProofAgeMs: null, maxStatusAgeMs: null };

  it('are followed back, and a change is critical until a window or the inventory says otherwise', async () => {
    await backup(4, three);
    await backup(5, three);
    await backup(6, [...three, n(4)]);
    const status = await scene.status(at(7));
    expect(status.members.map(({ at: time }) => time)).toEqual([at(6), at(5), at(4)]);
    const reasons = [
      { level: 'critical', text: expect.stringMatching(/^raft member n4 at .* is new since /) as string },
    ];
    expect(judge(status, limits, at(7))).toMatchObject({ level: 'critical', reasons });
    const windows = [{ from: at(5.5), to: at(5.6) }];
    expect(judge(status, { ...limits, membership: { inventory: [], windows } }, at(7)).level).toBe('ok');
    const inventory = [...three, n(4)];
    expect(judge(status, { ...limits, membership: { inventory, windows: [] } }, at(7)).level).toBe('ok');
    expect(judge(status, { ...limits, membership: { inventory: three, windows: [] } }, at(7)).level).toBe('critical');
  });

  it('end where a backup was pruned, and after five', async () => {
    const first = await backup(0, three);
    for (let hour = 1; hour <= 6; hour += 1) await backup(hour, three);
    expect((await scene.status(at(7))).members.map(({ at: time }) => time)).toEqual([6, 5, 4, 3, 2, 1].map(at));
    expect((await scene.status(at(7))).members.map(({ snapshot }) => snapshot)).not.toContain(first);
    const pruned = (await scene.status(at(7))).members[2]?.snapshot;
    for (const name of ['a', 'b'])
      await rm(scene.path(name, objectKey(scene.cluster, 'manifests', pruned as SnapshotId)));
    expect((await scene.status(at(7))).members.map(({ at: time }) => time)).toEqual([at(6), at(5)]);
  });

  it('are read once, and stay known when their manifests cannot be read any more', async () => {
    const before = await backup(5, three);
    await backup(6, [n(1), n(2)]);
    const memory = new RecordMemory();
    const read = () => readStatus(scene.deps, at(7), never, memory);
    expect((await read()).members).toHaveLength(2);
    for (const name of ['a', 'b']) await rm(scene.path(name, objectKey(scene.cluster, 'manifests', before)));
    expect((await read()).members).toHaveLength(2);
    expect((await scene.status(at(7))).members).toHaveLength(1);
  });

  it('stay known while no destination answers', async () => {
    await backup(5, three);
    await backup(6, [n(1), n(2)]);
    const before = await scene.status(at(7));
    for (const name of ['a', 'b']) await scene.takeAway(name);
    const next = await scene.status(at(8));
    expect(next.members).toEqual([]);
    expect(driftOf(keepKnown(before, next).members, none, at(8))).toHaveLength(1);
  });

  it('are those of the destinations that answer', async () => {
    await backup(5, three);
    await backup(6, [n(1), n(2)]);
    await scene.takeAway('b');
    const status = await scene.status(at(7));
    expect(driftOf(status.members, none, at(7))).toHaveLength(1);
  });
});
