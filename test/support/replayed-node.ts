/**
 * A node that gives prepared answers, and one archive as its snapshot: a backup of it is the real one but for who is asked.
 * What it answers was recorded from OpenBao 2.7.2, or is documented for Vault 1.21.4. It takes no snapshot back.
 */
import type { ServerResponse } from 'node:http';
import { BAO_HEALTH, BAO_SEAL_STATUS, LEADER, VAULT_HEALTH, VAULT_SEAL_STATUS } from '../unit/vault/answers.ts';
import { type ReplayAnswer, startReplay } from './replay-server.ts';

export const SNAPSHOT = '/v1/sys/storage/raft/snapshot';
const SERVERS = [{ node_id: 'n1', address: '127.0.0.1:8201', leader: true, protocol_version: '3', voter: true }];
const TOKEN = { accessor: 'a', policies: ['strongroom'], ttl: 0, renewable: false, num_uses: 0, type: 'service' };

const ANSWERS = {
  openbao: { health: BAO_HEALTH, sealStatus: BAO_SEAL_STATUS, backend: 404 },
  vault: { health: VAULT_HEALTH, sealStatus: VAULT_SEAL_STATUS, backend: 200 },
} as const;

export type ReplayedNode = AsyncDisposable & {
  url: string;
  /** what it gives out as its snapshot from now on */
  archive: Uint8Array;
  /** requests that would have installed a snapshot */
  installs(): string[];
};

/** An active, unsealed node. `seal` and `health` are merged over the answers of those names. */
export async function startReplayedNode(
  product: keyof typeof ANSWERS,
  change: { archive?: Uint8Array; seal?: object; health?: object } = {},
): Promise<ReplayedNode> {
  const node = { archive: change.archive ?? new Uint8Array() };
  const fixed = answersOf(product, change);
  const server = await startReplay(({ method, path }, response) => {
    if (method === 'GET' && path === SNAPSHOT) return give(response, node.archive);
    return fixed[path] ?? { status: 404, body: { errors: [] } };
  });
  return Object.assign(node, {
    url: server.url,
    installs: () =>
      server.seen.filter((r) => r.method !== 'GET' && r.path.startsWith(SNAPSHOT)).map((r) => `${r.method} ${r.path}`),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  });
}

/** What an active, unsealed node answers at this moment, by path. */
export function answersOf(
  product: keyof typeof ANSWERS,
  change: { seal?: object; health?: object } = {},
): Record<string, ReplayAnswer> {
  const { health, sealStatus, backend } = ANSWERS[product];
  return {
    '/v1/sys/health': { status: 200, body: { ...health, ...now(), ...change.health } },
    '/v1/sys/seal-status': { status: 200, body: { ...sealStatus, ...change.seal } },
    '/v1/sys/leader': { status: 200, body: LEADER },
    '/v1/sys/storage/raft/configuration': { status: 200, body: { data: { config: { index: 0, servers: SERVERS } } } },
    '/v1/auth/token/lookup-self': { status: 200, body: { data: TOKEN } },
    '/v1/sys/seal-backend-status': { status: backend, body: backend === 200 ? { healthy: true } : { errors: [] } },
  };
}

function now(): { server_time_utc: number } {
  return { server_time_utc: Math.floor(Date.now() / 1000) };
}

function give(response: ServerResponse, archive: Uint8Array): null {
  response.writeHead(200, { 'content-type': 'application/gzip' });
  response.end(archive);
  return null;
}
