/** Vault or OpenBao, told by what they answer. Never by version: both are at 2.x. */

export type Product = 'vault' | 'openbao' | 'unknown';

// In sys/health of Vault 1.21 on every kind of node, in OpenBao on none.
const VAULT_HEALTH = [
  'enterprise',
  'performance_standby',
  'echo_duration_ms',
  'clock_skew_ms',
  'replication_primary_canary_age_ms',
  'removed_from_cluster',
  'ha_connection_healthy',
  'last_request_forwarding_heartbeat_ms',
];

/**
 * Works on sealed nodes and without a token. `sealStatus` and `health` are the bodies of sys/seal-status and sys/health,
 * null when not known; `sealBackendStatus` is the HTTP status of sys/seal-backend-status asked without a token, for older
 * versions that the first two don't tell apart (Vault >= 1.16 answers 200, OpenBao 403 or 404).
 */
export function detectProduct(
  sealStatus: Readonly<Record<string, unknown>> | null,
  health: Readonly<Record<string, unknown>> | null,
  sealBackendStatus: number | null = null,
): Product {
  if (sealStatus !== null && 'removed_from_cluster' in sealStatus) return 'vault';
  if (sealStatus !== null && 'commit_date' in sealStatus) return 'openbao';
  if (health !== null && VAULT_HEALTH.some((key) => key in health)) return 'vault';
  if (sealBackendStatus === 200) return 'vault';
  if (sealBackendStatus === 404 || sealBackendStatus === 403) return 'openbao';
  return 'unknown';
}
