/** What the harness reads from a server, checked. */
import { z } from 'zod';
import type { BaoNode } from './bao-node.ts';

// 2.6 leaves out what is false or empty.
const LEADER = z.object({
  is_self: z.boolean().default(false),
  leader_address: z.string().default(''),
  leader_cluster_address: z.string().default(''),
});
const RAFT = z.object({
  data: z.object({
    config: z.object({
      servers: z.array(z.object({ node_id: z.string(), address: z.string(), leader: z.boolean(), voter: z.boolean() })),
    }),
  }),
});
const SEAL_STATUS = z.object({
  type: z.string(),
  initialized: z.boolean(),
  sealed: z.boolean(),
  t: z.number(),
  n: z.number(),
  progress: z.number(),
  version: z.string(),
});
const INIT = z.object({
  keys: z.array(z.string()).default([]),
  recovery_keys: z.array(z.string()).default([]),
  root_token: z.string(),
});

export type RaftServer = z.infer<typeof RAFT>['data']['config']['servers'][number];

const PROBE_MS = 2000;

/** HTTP status of sys/health: 200 active, 429 standby, 501 not initialised, 503 sealed. */
export async function healthStatus(node: BaoNode): Promise<number> {
  return (await node.request('GET', 'sys/health', { timeoutMs: PROBE_MS })).status;
}

export async function sealStatus(node: BaoNode) {
  return SEAL_STATUS.parse((await node.call('GET', 'sys/seal-status', { timeoutMs: PROBE_MS })).json);
}

export async function leader(node: BaoNode) {
  return LEADER.parse((await node.call('GET', 'sys/leader', { timeoutMs: PROBE_MS })).json);
}

/** True when the node is unsealed, active, and names itself as leader: health alone says 200 too early. */
export async function isActive(node: BaoNode): Promise<boolean> {
  return (await healthStatus(node)) === 200 && (await leader(node)).is_self;
}

/** The raft configuration as the node sees it. */
export async function raftServers(node: BaoNode, token: string): Promise<RaftServer[]> {
  const answer = await node.call('GET', 'sys/storage/raft/configuration', { token, timeoutMs: PROBE_MS });
  return RAFT.parse(answer.json).data.config.servers;
}

const AUTOPILOT = z.object({ data: z.object({ healthy: z.boolean() }) });

/** What autopilot says of the whole cluster; the active node answers. */
export async function autopilotHealthy(node: BaoNode, token: string): Promise<boolean> {
  const answer = await node.call('GET', 'sys/storage/raft/autopilot/state', { token, timeoutMs: PROBE_MS });
  return AUTOPILOT.parse(answer.json).data.healthy;
}

export type InitResult = { shares: string[]; rootToken: string };

/** Initialises the node's cluster; the shares are unseal keys for Shamir, recovery keys for every other seal. */
export async function initialise(
  node: BaoNode,
  shamir: boolean,
  shares: number,
  threshold: number,
  signal?: AbortSignal,
): Promise<InitResult> {
  const body = shamir
    ? { secret_shares: shares, secret_threshold: threshold }
    : { recovery_shares: shares, recovery_threshold: threshold };
  const answer = await node.call('PUT', 'sys/init', { body, timeoutMs: 60_000, signal });
  const made = INIT.parse(answer.json);
  return { shares: shamir ? made.keys : made.recovery_keys, rootToken: made.root_token };
}
