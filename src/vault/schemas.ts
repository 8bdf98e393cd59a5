/** The answers of both products, as far as they are read. Loose: unknown keys are new versions, not mistakes. */
import { z } from 'zod';

/** sys/health. Vault adds keys that OpenBao has not; they tell the products apart. */
export const healthSchema = z.looseObject({
  initialized: z.boolean(),
  sealed: z.boolean(),
  standby: z.boolean(),
  performance_standby: z.boolean().optional(),
  /** seconds since 1970, cut to whole ones */
  server_time_utc: z.number(),
  version: z.string().optional(),
  cluster_name: z.string().optional(),
  cluster_id: z.string().optional(),
  removed_from_cluster: z.boolean().optional(),
  /** Vault standbys: may they reach the active node */
  ha_connection_healthy: z.boolean().optional(),
});

/** sys/seal-status, and the answer of sys/unseal. For auto seals `t` and `n` are the recovery numbers. */
export const sealStatusSchema = z.looseObject({
  type: z.string(),
  initialized: z.boolean(),
  sealed: z.boolean(),
  t: z.number(),
  n: z.number(),
  progress: z.number(),
  nonce: z.string().optional(),
  version: z.string().optional(),
  migration: z.boolean().optional(),
  cluster_name: z.string().optional(),
  cluster_id: z.string().optional(),
  recovery_seal: z.boolean().optional(),
  storage_type: z.string().optional(),
  removed_from_cluster: z.boolean().optional(),
});

/** sys/leader. With storage that knows no HA there is nothing but `ha_enabled: false`. */
export const leaderSchema = z.looseObject({
  ha_enabled: z.boolean(),
  is_self: z.boolean().default(false),
  leader_address: z.string().default(''),
  leader_cluster_address: z.string().default(''),
  raft_committed_index: z.number().optional(),
  raft_applied_index: z.number().optional(),
});

export const raftConfigurationSchema = z.looseObject({
  data: z.looseObject({
    config: z.looseObject({
      servers: z.array(
        z.looseObject({
          node_id: z.string(),
          address: z.string(),
          leader: z.boolean(),
          voter: z.boolean(),
        }),
      ),
    }),
  }),
});

export const autopilotStateSchema = z.looseObject({
  data: z.looseObject({
    healthy: z.boolean(),
    failure_tolerance: z.number(),
    leader: z.string(),
    voters: z.array(z.string()).nullish(),
    servers: z
      .record(
        z.string(),
        z.looseObject({
          id: z.string(),
          address: z.string(),
          node_status: z.string(),
          healthy: z.boolean(),
          last_index: z.number().optional(),
          last_contact: z.string().optional(),
          status: z.string(),
          version: z.string().optional(),
        }),
      )
      .nullish(),
  }),
});

/** sys/seal-backend-status; Vault >= 1.16. `healthy: true` proves nothing (facts/vault: true while the key is disabled). */
export const sealBackendStatusSchema = z.looseObject({
  healthy: z.boolean(),
  unhealthy_since: z.string().optional(),
  fully_wrapped: z.boolean().optional(),
});

/** auth/token/lookup-self */
export const tokenSchema = z.looseObject({
  data: z.looseObject({
    accessor: z.string().optional(),
    display_name: z.string().optional(),
    policies: z.array(z.string()).nullish(),
    identity_policies: z.array(z.string()).nullish(),
    /** seconds; 0 = does not expire */
    ttl: z.number(),
    renewable: z.boolean().optional(),
    num_uses: z.number().optional(),
    type: z.string().optional(),
  }),
});

/** The `auth` part of a login or a renewal. */
export const authSchema = z.looseObject({
  auth: z.looseObject({
    client_token: z.string(),
    policies: z.array(z.string()).nullish(),
    /** seconds; 0 = does not expire */
    lease_duration: z.number(),
    renewable: z.boolean(),
    token_type: z.string().optional(),
    num_uses: z.number().optional(),
    mfa_requirement: z.unknown().optional(),
  }),
});

/** sys/config/state/sanitized. Only keys that stand in the server's file are there: no defaults. */
export const sanitizedSchema = z.looseObject({
  data: z.looseObject({
    listeners: z
      .array(
        z.looseObject({
          type: z.string().optional(),
          config: z.looseObject({ http_read_timeout: z.union([z.string(), z.number()]).optional() }).nullish(),
        }),
      )
      .nullish(),
  }),
});

/** sys/mounts and sys/auth. */
export const mountsSchema = z.looseObject({
  data: z.record(
    z.string(),
    z.looseObject({
      type: z.string(),
      uuid: z.string().optional(),
      accessor: z.string().optional(),
      description: z.string().optional(),
      options: z.record(z.string(), z.string()).nullish(),
    }),
  ),
});

export type Health = z.infer<typeof healthSchema>;
export type SealStatus = z.infer<typeof sealStatusSchema>;
export type Leader = z.infer<typeof leaderSchema>;
export type RaftServer = z.infer<typeof raftConfigurationSchema>['data']['config']['servers'][number];
export type AutopilotState = z.infer<typeof autopilotStateSchema>['data'];
export type SealBackendStatus = z.infer<typeof sealBackendStatusSchema>;
export type TokenInfo = z.infer<typeof tokenSchema>['data'];
export type LoginAnswer = z.infer<typeof authSchema>['auth'];
export type Mount = z.infer<typeof mountsSchema>['data'][string];
