/** What ends by itself one day: the certificates of the nodes, our own, and a configured token. */
import { X509Certificate } from 'node:crypto';
import { App } from '../app.ts';
import type { ClusterConfig } from '../config/cluster-config.ts';
import type { Config } from '../config/load.ts';
import { StrongroomError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { Clock } from '../core/units.ts';
import type { VaultCluster } from '../vault/cluster.ts';
import { certificateEnd } from '../vault/tls.ts';

/** An end that was seen stays known: it comes whether anybody looks or not. */
export type LoginFacts = {
  /** by the address of the node; those without TLS, and those never reached, are not in it */
  certificates: ReadonlyMap<string, Date>;
  /** our own certificate; null = there is none, or it cannot be read */
  clientCertificateEndsAt: Date | null;
  /** null = the login is made anew for each run, or the token never ends, or it is unknown */
  token: { endsAt: Date; isRenewable: boolean } | null;
};

export const NOTHING_KNOWN: LoginFacts = { certificates: new Map(), clientCertificateEndsAt: null, token: null };

export type LoginProbeOptions = { config: Config; cluster: ClusterConfig; clock: Clock; log: Log };

const HANDSHAKE_MS = 5_000;

export type LoginProbe = { facts: LoginFacts; problems: unknown[] };

/**
 * Looks at all of them; what cannot be looked at keeps the facts of `before`, and why is in `problems`. A login by anything but
 * a configured token is not tried: each would be a write to the cluster. Rejects only when `signal` aborts.
 */
export async function probeLogin(
  { config, cluster, clock, log }: LoginProbeOptions,
  before: LoginFacts,
  signal: AbortSignal,
): Promise<LoginProbe> {
  const problems: unknown[] = [];
  const attempt = async <T>(known: T, find: () => Promise<T>): Promise<T> => {
    try {
      return await find();
    } catch (e) {
      signal.throwIfAborted();
      problems.push(e);
      return known;
    }
  };
  const clientCertificateEndsAt = await attempt(
    before.clientCertificateEndsAt,
    async () => await clientCertificateEnd(cluster, signal),
  );
  const facts = await attempt({ ...before, clientCertificateEndsAt }, async () => {
    await using app = new App(config, { log, door: 'strongroom worker' });
    const vault = await app.vault(cluster, signal);
    const [certificates, token] = await Promise.all([
      attempt(before.certificates, async () => await certificateEnds(vault, cluster, before.certificates, signal)),
      attempt(before.token, async () => await tokenEnd(vault, cluster, clock, signal)),
    ]);
    return { certificates, clientCertificateEndsAt, token };
  });
  return { facts, problems };
}

async function clientCertificateEnd({ name, tls }: ClusterConfig, signal: AbortSignal): Promise<Date | null> {
  const pem = await tls.cert?.resolve(signal);
  if (pem === undefined) return null;
  try {
    // Of a chain the first is ours.
    return new X509Certificate(pem).validToDate;
  } catch (e) {
    throw new StrongroomError('E_CONFIG_INVALID', `tls.cert of ${name} is no certificate`, { cause: e });
  }
}

async function certificateEnds(
  vault: VaultCluster,
  { tls }: ClusterConfig,
  before: LoginFacts['certificates'],
  signal: AbortSignal,
): Promise<LoginFacts['certificates']> {
  const nodes = (await vault.nodes(signal)).filter(({ url }) => url.startsWith('https:'));
  const ends = await Promise.all(
    nodes.map(async ({ url }): Promise<[string, Date][]> => {
      const end = (await certificateEnd(new URL(url), tls.serverName, HANDSHAKE_MS)) ?? before.get(url);
      return end === undefined ? [] : [[url, end]];
    }),
  );
  signal.throwIfAborted();
  return new Map(ends.flat());
}

async function tokenEnd(
  vault: VaultCluster,
  { auth }: ClusterConfig,
  clock: Clock,
  signal: AbortSignal,
): Promise<LoginFacts['token']> {
  if (auth.method !== 'token') return null;
  const active = await vault.active(signal);
  const asked = clock.now();
  const { ttl, renewable } = await active.lookupSelf(signal);
  if (ttl === 0) return null;
  return { endsAt: new Date(asked.getTime() + ttl * 1000), isRenewable: renewable === true };
}
