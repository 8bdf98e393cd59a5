/** Sealed or not, and the key shares that change it. No token is involved: the shares are the authority. */
import { isError, StrongroomError } from '../core/errors.ts';
import type { Secret } from '../core/secret.ts';
import { type Call, checked, type NodeClient } from './client.ts';
import { type SealStatus, sealStatusSchema } from './schemas.ts';

export type { SealStatus } from './schemas.ts';

/** Where to: a client of {@link VaultCluster.node}, or an ActiveNode. */
export type SealTarget = { client: NodeClient };

/**
 * `blocked` = the share was sent and no answer came in time: a joining node answers nothing until it has joined. Look at
 * the seal status later. `status` is that of the moment: the last share of a joiner or an auto seal opens it only afterwards.
 */
export type UnsealAnswer = { outcome: 'answered'; status: SealStatus } | { outcome: 'blocked' };

export type UnsealOptions = {
  /** needed with every share while a seal migration is pending */
  migrate?: boolean;
  /** in ms; default 20 s */
  timeoutMs?: number;
};

const UNSEAL_MS = 20_000;

export function sealStatus(node: SealTarget, signal: AbortSignal): Promise<SealStatus> {
  return node.client.sealStatus(signal);
}

/** Gives one share to one node. Shares that don't open it, and what else stands against it, are E_UNSEAL. */
export async function unseal(
  node: SealTarget,
  share: Secret,
  signal: AbortSignal,
  options: UnsealOptions = {},
): Promise<UnsealAnswer> {
  const body = { key: share, ...(options.migrate === true ? { migrate: true } : {}) };
  try {
    return { outcome: 'answered', status: await put(node.client, body, signal, options.timeoutMs ?? UNSEAL_MS) };
  } catch (e) {
    if (isError(e, 'E_VAULT_UNREACHABLE') && e.details['reason'] === 'timeout') return { outcome: 'blocked' };
    throw e;
  }
}

/** Drops the shares given so far. */
export function resetUnseal(node: SealTarget, signal: AbortSignal): Promise<SealStatus> {
  return put(node.client, { reset: true }, signal, UNSEAL_MS);
}

async function put(
  client: NodeClient,
  body: Call['body'],
  signal: AbortSignal,
  timeoutMs: number,
): Promise<SealStatus> {
  const path = 'sys/unseal';
  const call: Call = { method: 'PUT', path, signal, timeoutMs, ...(body === undefined ? {} : { body }) };
  const answer = await client.ask(call);
  if (answer.status === 200) return checked(sealStatusSchema, answer, path, client.url);
  const meant = client.refused(answer, call);
  throw meant.code === 'E_VAULT_RESPONSE' ? refusedShare(answer.errors.join('; '), client.url, meant) : meant;
}

const WHY: readonly (readonly [RegExp, string, string])[] = [
  [
    /invalid key size 33/,
    'the node still counts shares by the numbers it was initialised with, not by those of the restored data',
    "restart this node's process, then give the shares again; they are not wrong",
  ],
  [
    /migrate option not provided/,
    'a seal migration is pending',
    'give every share with the migrate option; is the `disabled` seal stanza in its config meant?',
  ],
  [
    /no recovery key found/,
    'the data are of a Shamir cluster, and the node is configured for an auto seal',
    'remove the seal stanza, restart the node, and unseal with the shares of the source',
  ],
  [
    // OpenBao 2.6 and 2.7 say this to shares of another Shamir cluster, and the same to any shares for auto-seal data.
    /unable to retrieve stored keys.*message authentication failed/,
    'the shares do not open the root key in its data',
    'give the shares of the cluster that the data are of, from before or after its last rekey; data of an auto-seal cluster open with that seal in the config alone',
  ],
  [
    /unable to retrieve stored keys/,
    'the data are of an auto-seal cluster, and the node has no such seal',
    'configure the seal that the snapshot was taken under, and start the node: it opens by itself',
  ],
  [
    /message authentication failed|invalid (unseal )?key|failed to decrypt|shamir|must (be|not)|key is (shorter|longer)|hex or base64/i,
    'the share is not one of this cluster, or of another generation of its keys',
    'the count starts again at 0: give the shares that belong to the data, from before or after the last rekey',
  ],
];

function refusedShare(text: string, node: string, meant: StrongroomError): StrongroomError {
  const known = WHY.find(([pattern]) => pattern.test(text));
  return new StrongroomError('E_UNSEAL', `${node} refuses the key share: ${known?.[1] ?? text}`, {
    hint: known?.[2] ?? 'look at the log of the node',
    details: { node, server: text },
    cause: meant,
  });
}
