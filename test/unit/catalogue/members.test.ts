import { describe, expect, it } from 'vitest';
import { compareMembers } from '../../../src/catalogue/members.ts';

describe('raft members', () => {
  const p = (id: string, address: string) => ({ id, address });
  it('are quiet when nothing differs', () => {
    expect(compareMembers([p('a', '1:1')], [p('a', '1:1')], [p('a', '1:1')])).toEqual([]);
    expect(compareMembers([p('a', '1:1')], [], null)).toEqual([]);
  });

  it('are named when they are strangers, moved or absent', () => {
    const warnings = compareMembers(
      [p('a', '1:1'), p('x', '9:9'), p('b', '9:8')],
      [p('a', '1:1'), p('b', '2:2'), p('c', '3:3')],
      null,
    );
    expect(warnings).toEqual([
      'raft member x at 9:9 is a stranger to the inventory',
      'raft member b is at 9:8, but the inventory says 2:2',
      'raft member c of the inventory is absent',
    ]);
  });

  it('are named when they changed since the last snapshot, which nothing else shows', () => {
    expect(compareMembers([p('a', '9:9')], [], [p('a', '1:1')])).toEqual([
      'raft member a moved from 1:1 to 9:9 since the last snapshot',
    ]);
    expect(compareMembers([p('b', '2:2'), p('c', '3:3')], [], [p('a', '1:1'), p('b', '2:2')])).toEqual([
      'raft member c at 3:3 is new since the last snapshot',
      'raft member a at 1:1 is gone since the last snapshot',
    ]);
  });
});
