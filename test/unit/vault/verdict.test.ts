import { expect, test } from 'vitest';
import { isError, StrongroomError } from '../../../src/core/errors.ts';
import type { NodeState, NodeView } from '../../../src/vault/node-view.ts';
import { pickActive, warningsOf } from '../../../src/vault/verdict.ts';

const DEAD = new StrongroomError('E_VAULT_UNREACHABLE', 'nothing listens', { details: { reason: 'refused' } });
const BAD_TLS = new StrongroomError('E_VAULT_TLS', 'wrong CA');
const LIMITED = new StrongroomError('E_VAULT_RATE_LIMITED', 'quota');

function node(number: number, state: NodeState, change: Partial<NodeView> = {}): NodeView {
  return {
    url: `http://n${number}:8200`,
    state,
    error: state === 'unreachable' || state === 'hanging' ? DEAD : null,
    healthStatus: null,
    product: 'openbao',
    version: null,
    clusterId: null,
    clusterName: null,
    storageType: 'raft',
    sealType: 'shamir',
    threshold: 2,
    shares: 3,
    progress: 0,
    isSelf: state === 'active',
    leaderAddress: null,
    leaderReachable: null,
    raftAppliedIndex: null,
    clockSkewMs: null,
    ...change,
  };
}

function verdict(...nodes: NodeView[]): string {
  try {
    return pickActive({ name: 'prod', nodes, warnings: [] }).url;
  } catch (e) {
    if (isError(e)) return e.code;
    throw e;
  }
}

const n1 = { leaderAddress: 'http://n1:8200' };
const outside = { leaderAddress: 'http://elsewhere:8200' };

const CASES: readonly [string, string, NodeView[]][] = [
  ['http://n2:8200', 'one active, one dead', [node(1, 'unreachable'), node(2, 'active'), node(3, 'standby')]],
  ['E_NO_ACTIVE_NODE', 'two claim it', [node(1, 'active'), node(2, 'active')]],
  ['E_VAULT_UNREACHABLE', 'all dead', [node(1, 'unreachable'), node(2, 'hanging'), node(3, 'unreachable')]],
  ['E_VAULT_TLS', 'dead and one bad handshake', [node(1, 'unreachable'), node(2, 'unreachable', { error: BAD_TLS })]],
  ['E_VAULT_UNINITIALISED', 'nobody initialised it', [node(1, 'uninitialised'), node(2, 'uninitialised')]],
  ['E_VAULT_SEALED', 'all sealed', [node(1, 'sealed'), node(2, 'sealed')]],
  ['E_VAULT_SEALED', 'sealed beside one that has not joined', [node(1, 'sealed'), node(2, 'uninitialised')]],
  [
    'E_VAULT_SEALED',
    'unsealing would give a quorum',
    [node(1, 'sealed'), node(2, 'standby', n1), node(3, 'unreachable')],
  ],
  ['E_VAULT_REMOVED', 'removed', [node(1, 'removed'), node(2, 'removed')]],
  ['E_QUORUM_LOST', 'one survivor of three', [node(1, 'unreachable'), node(2, 'standby', n1), node(3, 'unreachable')]],
  ['E_QUORUM_LOST', 'one of three, one hangs', [node(1, 'unreachable'), node(2, 'standby', n1), node(3, 'hanging')]],
  [
    'E_QUORUM_LOST',
    'one sealed of five would not be enough',
    [node(1, 'unreachable'), node(2, 'standby', n1), node(3, 'sealed'), node(4, 'unreachable'), node(5, 'unreachable')],
  ],
  [
    'E_NO_ACTIVE_NODE',
    'too few seen, but by a handshake of ours that fails',
    [node(1, 'unreachable', { error: BAD_TLS }), node(2, 'standby'), node(3, 'unreachable', { error: BAD_TLS })],
  ],
  [
    'E_NO_ACTIVE_NODE',
    'a Vault standby reaches the active node that we do not',
    [node(1, 'unreachable'), node(2, 'standby', { ...n1, leaderReachable: true }), node(3, 'unreachable')],
  ],
  [
    'E_NO_ACTIVE_NODE',
    'the leader died, two go on',
    [node(1, 'unreachable'), node(2, 'standby', n1), node(3, 'standby', n1)],
  ],
  ['E_NO_ACTIVE_NODE', 'nobody is named', [node(1, 'standby'), node(2, 'standby'), node(3, 'standby')]],
  ['E_VAULT_STANDBY', 'the active one is not configured', [node(1, 'standby', outside), node(2, 'standby', outside)]],
  [
    'E_NO_ACTIVE_NODE',
    'Vault: the one outside is not reached by its standbys either',
    [node(1, 'standby', { ...outside, leaderReachable: false }), node(2, 'standby', outside)],
  ],
  ['E_VAULT_STANDBY', 'a DR secondary', [node(1, 'dr-secondary')]],
  ['E_VAULT_NOT_RAFT', 'other storage', [node(1, 'active', { storageType: 'inmem' })]],
  [
    'E_VAULT_RATE_LIMITED',
    'the survey itself is limited',
    [node(1, 'unclear', { error: LIMITED }), node(2, 'unclear', { error: LIMITED })],
  ],
];

test.each(CASES)('%s: %s', (expected, _why, nodes) => {
  expect(verdict(...nodes)).toBe(expected);
});

test('two that claim to be active are both named', () => {
  expect(() => pickActive({ name: 'prod', nodes: [node(1, 'active'), node(3, 'active')], warnings: [] })).toThrow(
    /n1:8200 and http:\/\/n3:8200/,
  );
});

test('a leader outside the configured nodes is a warning', () => {
  expect(warningsOf([node(1, 'active', n1), node(2, 'standby', n1)])).toEqual([]);
  expect(warningsOf([node(1, 'active', n1), node(2, 'standby', outside)])).toEqual([
    expect.stringContaining('http://elsewhere:8200'),
  ]);
});

test("the active node's own idea of its address is no warning", () => {
  const ip = { leaderAddress: 'https://10.0.0.7:8200' };
  expect(warningsOf([node(1, 'active', ip), node(2, 'standby', ip)])).toEqual([]);
});

test('nodes of different clusters are a warning', () => {
  expect(warningsOf([node(1, 'active', { clusterId: 'a' }), node(2, 'active', { clusterId: 'b' })])).toHaveLength(1);
});
