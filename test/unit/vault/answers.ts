/**
 * Bodies as the servers give them. OpenBao's are recorded from 2.7.2 (seal-status of 2.6.2 has the same keys); those of Vault
 * 1.21.4 hold the keys and values that are documented for it.
 */
export const BAO_SEAL_STATUS = {
  type: 'shamir',
  initialized: true,
  sealed: false,
  t: 2,
  n: 3,
  progress: 0,
  nonce: '',
  recovery_seal: false,
  version: '2.7.2',
  commit_date: '2026-10-26T20:32:27Z',
  migration: false,
  cluster_name: 'vault-cluster-ea140f2f',
  cluster_id: '37c04468-aced-d72e-69a7-787a0b2604fb',
  storage_type: 'raft',
};

export const BAO_HEALTH = {
  initialized: true,
  sealed: false,
  standby: false,
  replication_performance_mode: 'primary',
  replication_dr_mode: 'disabled',
  server_time_utc: 1_795_315_149,
  version: '2.7.2',
  cluster_name: 'vault-cluster-ea140f2f',
  cluster_id: '37c04468-aced-d72e-69a7-787a0b2604fb',
};

export const VAULT_SEAL_STATUS = {
  type: 'shamir',
  initialized: true,
  sealed: false,
  t: 2,
  n: 3,
  progress: 0,
  nonce: '',
  version: '1.21.4',
  build_date: '2026-03-04T17:40:05Z',
  migration: false,
  cluster_name: 'vault-cluster-1f9c6c43',
  cluster_id: '3a6f2f6e-9d3c-4ab5-5f16-6f4c2a6dd0a5',
  recovery_seal: false,
  storage_type: 'raft',
  removed_from_cluster: false,
};

export const VAULT_HEALTH = {
  initialized: true,
  sealed: false,
  standby: false,
  performance_standby: false,
  replication_performance_mode: 'disabled',
  replication_dr_mode: 'disabled',
  server_time_utc: 1_795_315_149,
  version: '1.21.4',
  enterprise: false,
  cluster_name: 'vault-cluster-1f9c6c43',
  cluster_id: '3a6f2f6e-9d3c-4ab5-5f16-6f4c2a6dd0a5',
  echo_duration_ms: 0,
  clock_skew_ms: 0,
  replication_primary_canary_age_ms: 0,
  removed_from_cluster: false,
};

export const LEADER = {
  ha_enabled: true,
  is_self: true,
  active_time: '2026-11-22T02:39:07.336140913Z',
  leader_address: 'http://127.0.0.1:8200',
  leader_cluster_address: 'https://127.0.0.1:8201',
  raft_committed_index: 29,
  raft_applied_index: 29,
};
