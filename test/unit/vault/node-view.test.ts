import { expect, test } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import { describeNode, type NodeAnswers, type NodeState } from '../../../src/vault/node-view.ts';
import { BAO_HEALTH, BAO_SEAL_STATUS, LEADER, VAULT_HEALTH, VAULT_SEAL_STATUS } from './answers.ts';

const URL = 'http://127.0.0.1:8200';
const REFUSED = new StrongroomError('E_VAULT_UNREACHABLE', 'refused', { details: { reason: 'refused' } });
const SILENT = new StrongroomError('E_VAULT_UNREACHABLE', 'silent', { details: { reason: 'timeout' } });
const SEALED = new StrongroomError('E_VAULT_SEALED', 'sealed');

function answers(change: Partial<NodeAnswers> = {}): NodeAnswers {
  return {
    health: { value: { ...BAO_HEALTH, status: 200 } },
    sealStatus: { value: BAO_SEAL_STATUS },
    leader: { value: LEADER },
    healthAt: 1_795_315_149_000,
    ...change,
  };
}

const standby = { value: { ...LEADER, is_self: false, leader_address: 'http://other:8200' } };

const STATES: readonly [NodeState, string, Partial<NodeAnswers>][] = [
  ['active', 'all three agree', {}],
  ['standby', 'health 429 and not itself', { health: { value: { ...BAO_HEALTH, status: 429 } }, leader: standby }],
  ['standby', 'health 200 but another one is named', { leader: standby }],
  ['standby', 'it names itself but health says standby', { health: { value: { ...BAO_HEALTH, status: 429 } } }],
  [
    'sealed',
    'seal-status sealed, no leader',
    { sealStatus: { value: { ...BAO_SEAL_STATUS, sealed: true } }, leader: { error: SEALED } },
  ],
  ['uninitialised', 'seal-status', { sealStatus: { value: { ...BAO_SEAL_STATUS, initialized: false, sealed: true } } }],
  [
    'unreachable',
    'nothing listens',
    { health: { error: REFUSED }, sealStatus: { error: REFUSED }, leader: { error: REFUSED } },
  ],
  ['hanging', 'all silent', { health: { error: SILENT }, sealStatus: { error: SILENT }, leader: { error: SILENT } }],
  ['hanging', 'health 200 while seal-status is silent', { sealStatus: { error: SILENT } }],
  ['hanging', 'only the leader is silent', { leader: { error: SILENT } }],
  ['unclear', 'leader is rate-limited', { leader: { error: new StrongroomError('E_VAULT_RATE_LIMITED', 'quota') } }],
];

test.each(STATES)('%s: %s', (state, _why, change) => {
  expect(describeNode(URL, answers(change)).state).toBe(state);
});

const VAULT_STATES: readonly [NodeState, number, object, object][] = [
  ['removed', 530, { removed_from_cluster: true, sealed: true }, { removed_from_cluster: true, sealed: true }],
  ['dr-secondary', 472, {}, {}],
  ['standby', 473, { performance_standby: true, standby: true }, {}],
  ['standby', 474, { standby: true, ha_connection_healthy: false }, {}],
];

test.each(VAULT_STATES)('%s: answers documented for Vault 1.21, health %i', (state, status, health, seal) => {
  const view = describeNode(
    URL,
    answers({
      health: { value: { ...VAULT_HEALTH, ...health, status } },
      sealStatus: { value: { ...VAULT_SEAL_STATUS, ...seal } },
      leader: standby,
    }),
  );
  expect(view).toMatchObject({ state, product: 'vault', healthStatus: status });
});

test('a Vault standby that lost the active node says so', () => {
  const health = { value: { ...VAULT_HEALTH, standby: true, ha_connection_healthy: false, status: 474 } };
  expect(describeNode(URL, answers({ health, leader: standby })).leaderReachable).toBe(false);
  expect(describeNode(URL, answers({ leader: standby })).leaderReachable).toBeNull();
});

test('the clock is compared in the middle of the request, to the second', () => {
  expect(describeNode(URL, answers()).clockSkewMs).toBe(500);
  expect(describeNode(URL, answers({ healthAt: 1_795_315_089_500 })).clockSkewMs).toBe(60_000);
  expect(describeNode(URL, answers({ health: { error: SILENT } })).clockSkewMs).toBeNull();
});
