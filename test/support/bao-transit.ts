/** A second OpenBao that holds the seal key of others: a transit seal needs one. */
import { z } from 'zod';
import { type BaoCluster, type BaoVersion, startCluster } from './bao-cluster.ts';
import type { Seal } from './bao-seals.ts';

const TOKEN = z.object({ auth: z.object({ client_token: z.string() }) });
const KEY = 'autounseal';

export type TransitProvider = AsyncDisposable & {
  cluster: BaoCluster;
  /** for {@link startCluster}: a token that may encrypt and decrypt with this one key */
  seal: Extract<Seal, { type: 'transit' }>;
};

/** Starts a one-node provider with a transit key of its own. The caller disposes of it, after those it unseals. */
export async function startTransitProvider(version: BaoVersion, signal?: AbortSignal): Promise<TransitProvider> {
  const cluster = await startCluster({
    version,
    seal: { type: 'shamir', shares: 1, threshold: 1 },
    idPrefix: 'transit',
    ...(signal === undefined ? {} : { signal }),
  });
  try {
    await cluster.call('POST', 'sys/mounts/transit', { type: 'transit' });
    await cluster.call('POST', `transit/keys/${KEY}`);
    const rule = (path: string) => `path "transit/${path}/${KEY}" { capabilities = ["update"] }`;
    await cluster.call('PUT', `sys/policies/acl/${KEY}`, { policy: `${rule('encrypt')}\n${rule('decrypt')}` });
    const made = await cluster.call('POST', 'auth/token/create-orphan', { policies: [KEY], ttl: '24h' });
    const token = TOKEN.parse(made.json).auth.client_token;
    return {
      cluster,
      seal: { type: 'transit', address: cluster.first.url, token, keyName: KEY, mountPath: 'transit/' },
      [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
    };
  } catch (e) {
    await cluster[Symbol.asyncDispose]();
    throw e;
  }
}
