/**
 * State worth restoring: something in every kind of place a server keeps things, and the reading back that proves it
 * came through a restore.
 */
import type { BaoCluster } from './bao-cluster.ts';
import type { BaoNode } from './bao-node.ts';
import { leases, logins, policies } from './seed-access.ts';
import { namespaces, pki, transit } from './seed-engines.ts';
import { kv1, kv2 } from './seed-kv.ts';
import type { SeedContext, SeedPart } from './seed-part.ts';

// Policies before the logins that carry them, engines before the leases they give out.
const PARTS = { kv1, kv2, transit, pki, policies, logins, namespaces, leases } as const;

export type SeedPartName = keyof typeof PARTS;
/** What was written, and what must be readable again. Plain data: it may be kept as JSON. Holds test secrets. */
export type Seed = { [P in SeedPartName]?: (typeof PARTS)[P] extends SeedPart<infer T> ? T : never };

export type SeedOptions = {
  /** default: everything */
  parts?: readonly SeedPartName[];
  /** of tokens and issued certificates, in the server's notation; default `24h` */
  leaseTtl?: string;
  signal?: AbortSignal;
};

/** Writes the seed through the active node. To be called once per cluster: mounts that exist are an error. */
export async function writeSeed(cluster: BaoCluster, options: SeedOptions = {}): Promise<Seed> {
  const { parts = partNames(), leaseTtl = '24h', signal } = options;
  const node = await cluster.waitActive({ signal });
  const context: SeedContext = { node, token: cluster.rootToken, leaseTtl, signal };
  const seed: Seed = {};
  for (const name of partNames()) {
    if (parts.includes(name)) Object.assign(seed, { [name]: await PARTS[name].write(context) });
  }
  return seed;
}

export type VerifyOptions = {
  /** parts that are not expected: a sanitised snapshot has no leases */
  without?: readonly SeedPartName[];
  signal?: AbortSignal;
};

/**
 * Reads everything back, decrypts the old transit ciphertext, logs in as the seeded users and revokes those tokens
 * again. Returns what differs, one line each, without values; an empty list is the proof.
 *
 * @param on a cluster, whose active node is asked, or one node
 * @param token one that may read everything: the source's root token
 */
export async function verifySeed(
  on: BaoCluster | BaoNode,
  token: string,
  seed: Seed,
  options: VerifyOptions = {},
): Promise<string[]> {
  const node = 'waitActive' in on ? await on.waitActive({ signal: options.signal }) : on;
  const context: SeedContext = { node, token, leaseTtl: '1h', signal: options.signal };
  const differences: string[] = [];
  for (const name of partNames()) {
    if (options.without?.includes(name)) continue;
    differences.push(...(await verifyPart(name, context, seed)));
  }
  return differences;
}

async function verifyPart(name: SeedPartName, context: SeedContext, seed: Seed): Promise<string[]> {
  const written = seed[name];
  if (written === undefined) return [];
  // What a part wrote is only ever handed back to the same part.
  const part = PARTS[name] as SeedPart<unknown>;
  const found = await part.verify(context, written);
  return found.map((difference) => `${name}: ${difference}`);
}

function partNames(): SeedPartName[] {
  return Object.keys(PARTS) as SeedPartName[];
}
