/** Who will be able to open the backups on the day. */
import { recipientPolicy } from '../app-secrets.ts';
import { type ClusterConfig, readRecipients } from '../config/cluster-config.ts';
import { isError } from '../core/errors.ts';
import { checkRecipients } from '../crypt/policy.ts';
import { commonKind } from '../crypt/recipients.ts';
import { type Outcome, ok, warning } from './finding.ts';
import { withKeys } from './kms-checks.ts';
import { attempt, type Check, failed } from './run-checks.ts';

/** `sealKeyIds` gives what is known of the keys that unseal the cluster; it may reject, and then nothing is known. */
export function encryptionChecks(
  clusters: readonly ClusterConfig[],
  sealKeyIds: (cluster: ClusterConfig, signal: AbortSignal) => Promise<readonly string[]>,
): Check[] {
  return clusters.map((cluster) => ({
    area: 'encryption',
    what: `recipients of ${cluster.name}`,
    limitMs: 45_000,
    run: async (signal) => [
      ...(await attempt(`break glass of ${cluster.name}`, signal, () => readable(cluster, signal))),
      ...(await recipients(cluster, await sealKeyIds(cluster, signal), signal)),
      reachable(cluster),
    ],
  }));
}

async function readable(cluster: ClusterConfig, signal: AbortSignal): Promise<Outcome> {
  const found = await readRecipients(cluster.encryption.breakGlass, signal);
  const kind = commonKind(found);
  return ok(
    `break glass of ${cluster.name}`,
    `${found.length} recipient(s), ${kind}; whether their identities are in the safe only a drill tells`,
  );
}

async function recipients(
  cluster: ClusterConfig,
  sealKeyIds: readonly string[],
  signal: AbortSignal,
): Promise<Outcome[]> {
  const what = `recipients of ${cluster.name}`;
  try {
    const breakGlass = await readRecipients(cluster.encryption.breakGlass, signal);
    const { cautions } = await withKeys(cluster.encryption.kms, signal, (kms) =>
      checkRecipients(recipientPolicy(cluster), { kms, breakGlass, sealKeyIds }, signal),
    );
    const doubts = cautions.filter((caution) => caution.includes('the seal key'));
    if (doubts.length > 0) {
      return doubts.map((doubt) =>
        warning(what, doubt, `set clusters.${cluster.name}.sealKms to the full ARN of the seal's key`),
      );
    }
    return [ok(what, 'as many as the policy asks for, and none of them unseals the cluster')];
  } catch (e) {
    signal.throwIfAborted();
    // The state of each key is a finding of its own already.
    const outcomes = problemsIn(e)
      .filter((one) => !isError(one, 'E_KEY_REFUSED') || one.details['sealKeyId'] !== undefined)
      .map((one) => failed(what, one));
    return outcomes.length > 0
      ? outcomes
      : [ok(what, 'none of the keys unseals the cluster; their states are told with kms')];
  }
}

function problemsIn(e: unknown): readonly unknown[] {
  return isError(e) && e.cause instanceof AggregateError ? (e.cause.errors as unknown[]) : [e];
}

/** Break glass opens what can be fetched: behind SSE-KMS alone nothing can be while KMS is away. */
function reachable({ name, destinations }: ClusterConfig): Outcome {
  const what = `copies of ${name} without KMS`;
  const free = destinations.filter(({ options }) => options.type !== 's3' || options.sse?.type !== 'aws:kms');
  if (free.length > 0) return ok(what, `${free.map((one) => one.name).join(', ')} can be read while KMS is away`);
  return warning(
    what,
    'every destination is behind SSE-KMS: without KMS no copy can be fetched, break glass or not',
    'take sse: aws:kms out of one destination; what is stored is encrypted anyway',
  );
}
