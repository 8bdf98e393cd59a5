/** The login: that it works, how long it lives, and what it may do. */
import { z } from 'zod';
import type { ClusterConfig } from '../config/cluster-config.ts';
import { isError } from '../core/errors.ts';
import { formatDuration } from '../core/units.ts';
import { vaultRights } from '../policy/vault.ts';
import type { ActiveNode } from '../vault/active-node.ts';
import type { TokenInfo } from '../vault/schemas.ts';
import { type Capabilities, judgeCapabilities, type Mount, pathsToAsk } from './capabilities.ts';
import { type Outcome, ok, problem, unknown, warning } from './finding.ts';

const DAY_MS = 86_400_000;
/** A configured token that ends sooner is dead before anybody reads this twice. */
const SOON_MS = DAY_MS;

const capabilitiesSchema = z.looseObject({ data: z.record(z.string(), z.unknown()) });
const pathCapabilities = z.array(z.string());
const visibleMounts = z.looseObject({
  data: z.looseObject({
    secret: z.record(
      z.string(),
      z.looseObject({ type: z.string(), options: z.record(z.string(), z.string()).nullish() }),
    ),
  }),
});
const secretIdSchema = z.looseObject({ data: z.looseObject({ expiration_time: z.string().optional() }) });
const metaSchema = z.looseObject({ meta: z.record(z.string(), z.string()).nullish() });

/** Engines that are everybody's, or hold no secrets. */
const NO_SECRETS = new Set(['cubbyhole', 'system', 'identity', 'ns_system', 'ns_identity', 'ns_cubbyhole']);

export async function rightsOf(active: ActiveNode, cluster: ClusterConfig, signal: AbortSignal): Promise<Outcome[]> {
  const rights = vaultRights('backup', cluster);
  const mounts = await mountsOf(active, signal);
  const paths = pathsToAsk(rights, mounts);
  const inside = paths.filter((path) => path.startsWith('auth/token/'));
  const fix = `strongroom policy vault --cluster ${cluster.name} prints what it needs: give the login that policy alone`;
  try {
    const found = {
      ...(await ask(active, paths, undefined, signal)),
      // What a token does to itself is a matter of the namespace that it is of.
      ...(cluster.namespace === undefined ? {} : await ask(active, inside, cluster.namespace, signal)),
    };
    return judgeCapabilities(found, { rights, mounts, fix });
  } catch (e) {
    if (!isError(e, 'E_VAULT_DENIED')) throw e;
    return [
      unknown(
        'policy',
        'the token may not ask what it may do',
        'add to its policy: path "sys/capabilities-self" { capabilities = ["update"] }',
      ),
    ];
  }
}

async function ask(
  active: ActiveNode,
  paths: readonly string[],
  namespace: string | undefined,
  signal: AbortSignal,
): Promise<Capabilities> {
  const path = 'sys/capabilities-self';
  const answer = await active.withToken(signal, (token) =>
    active.client.call({ method: 'POST', path, body: { paths }, token, namespace, signal }),
  );
  const { data } = capabilitiesSchema.parse(answer.json);
  return Object.fromEntries(
    Object.entries(data).flatMap(([name, value]) => {
      const { data: list } = pathCapabilities.safeParse(value);
      return list === undefined ? [] : [[name, list] as const];
    }),
  );
}

/** The mounts that this token may do something in, which is what the servers tell it. */
async function mountsOf(active: ActiveNode, signal: AbortSignal): Promise<Mount[]> {
  const answer = visibleMounts.safeParse(
    await active.read('sys/internal/ui/mounts', signal).catch((e: unknown) => {
      signal.throwIfAborted();
      // It only makes the list of probes longer.
      if (isError(e)) return null;
      throw e;
    }),
  );
  if (!answer.success) return [];
  return Object.entries(answer.data.data.secret)
    .filter(([, { type }]) => !NO_SECRETS.has(type))
    .map(([path, { type, options }]) => ({ path, type, isVersioned: options?.['version'] === '2' }));
}

/** How long the login lasts. */
export async function lifeOf(active: ActiveNode, cluster: ClusterConfig, signal: AbortSignal): Promise<Outcome[]> {
  let info: TokenInfo;
  try {
    info = await active.lookupSelf(signal);
  } catch (e) {
    if (!isError(e, 'E_VAULT_DENIED')) throw e;
    return [
      unknown(
        'token life',
        'the token may not look at itself',
        'add to its policy: path "auth/token/lookup-self" { capabilities = ["read"] }',
      ),
    ];
  }
  return [
    cluster.auth.method === 'token' ? configuredLife(info) : loginLife(info),
    ...((info.num_uses ?? 0) > 0
      ? [
          warning(
            'token uses',
            `it is good for ${info.num_uses} more requests`,
            'make it without num_uses: a run needs many requests',
          ),
        ]
      : []),
    ...(cluster.auth.method === 'approle' ? [await secretIdLife(active, cluster, info, signal)] : []),
  ];
}

/** A token that stands in the config: nobody makes another one at night. */
export function configuredLife({ ttl, renewable }: Pick<TokenInfo, 'ttl' | 'renewable'>): Outcome {
  const what = 'token life';
  if (ttl === 0) {
    return warning(
      what,
      'the configured token never expires: a copy of it is good for ever',
      'log in by approle, kubernetes, jwt or cert',
    );
  }
  const left = formatDuration(ttl * 1000);
  const fix = 'log in by approle, kubernetes, jwt or cert, or keep the token alive from outside (vault agent)';
  if (ttl * 1000 < SOON_MS) return problem(what, `the configured token ends in ${left}, and only a run renews it`, fix);
  const how = renewable === true ? 'a run renews it while it lasts' : 'it cannot be renewed';
  return warning(what, `the configured token ends in ${left}; ${how}`, fix);
}

function loginLife({ ttl, renewable, type }: TokenInfo): Outcome {
  const left = ttl === 0 ? 'for ever' : `for ${formatDuration(ttl * 1000)}`;
  const how =
    type === 'batch' ? 'a batch token, which cannot be renewed' : renewable === true ? 'renewable' : 'not renewable';
  if (ttl === 0) return warning('token life', `each login gives a token ${left}`, 'set token_ttl on its role');
  return ok('token life', `each run logs in anew; its token is good ${left}, ${how}`);
}

async function secretIdLife(
  active: ActiveNode,
  { auth, namespace }: ClusterConfig,
  info: TokenInfo,
  signal: AbortSignal,
): Promise<Outcome> {
  const what = 'secret id';
  const fix = 'note the day on which it ends: bao write auth/approle/role/<role>/secret-id/lookup secret_id=-';
  const role = metaSchema.safeParse(info).data?.meta?.['role_name'];
  if (auth.method !== 'approle' || role === undefined) return unknown(what, 'the token does not tell its role', fix);
  const path = `auth/${auth.mount}/role/${encodeURIComponent(role)}/secret-id/lookup`;
  const secretId = await auth.secretId.resolve(signal);
  try {
    const answer = await active.withToken(signal, (token) =>
      active.client.call({ method: 'POST', path, body: { secret_id: secretId }, token, namespace, signal }),
    );
    return secretIdOutcome(secretIdSchema.safeParse(answer.json).data?.data.expiration_time, new Date());
  } catch (e) {
    if (!isError(e, 'E_VAULT_DENIED')) throw e;
    return unknown(what, 'this login may not see when it ends, as is usual', fix);
  }
}

/** `expiration` as the server writes it; year 1 = never. */
export function secretIdOutcome(expiration: string | undefined, now: Date): Outcome {
  const what = 'secret id';
  const end = new Date(expiration ?? '');
  if (Number.isNaN(end.getTime())) return unknown(what, 'the server does not tell when it ends');
  if (end.getUTCFullYear() <= 1) return ok(what, 'it does not end');
  const left = end.getTime() - now.getTime();
  const detail = `it ends in ${formatDuration(left)}, on ${end.toISOString()}`;
  const fix = 'make a new one: bao write -f auth/approle/role/<role>/secret-id, and put it where auth.secretId points';
  if (left < 7 * DAY_MS) return problem(what, detail, fix);
  return left < 30 * DAY_MS ? warning(what, detail, fix) : ok(what, detail);
}
