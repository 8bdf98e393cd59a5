/** What was probed, as metrics. A value is there only where a fact is behind it. */
import type { Sample } from '../observe/exposition.ts';
import type { PROBE_METRICS } from '../observe/metrics.ts';
import type { ClusterFacts } from './cluster-probe.ts';
import type { KeyFacts } from './key-probe.ts';

type Name = keyof typeof PROBE_METRICS;

/** So many probes may be lost, and so long one may last, in milliseconds, until nobody knows any more whether a key is alive. */
const PROBES_LOST = 3;
const LEAST_SILENCE_MS = 2 * 60_000;

/** `everyMs` = between two probes. A key that was not tried for long is not up: a probe that hangs must not look like a good one. */
export function probeSamples(
  { cluster, since, probedAt, keys, login }: ClusterFacts,
  everyMs: number,
  now: Date,
): Sample[] {
  const samples: Sample[] = [];
  const add = (name: Name, labels: Record<string, string>, value: number | null): void => {
    if (value !== null) samples.push({ name, labels: { cluster, ...labels }, value });
  };
  const silenceMs = Math.max(PROBES_LOST * everyMs, LEAST_SILENCE_MS);
  add('strongroom_probe_timestamp_seconds', {}, seconds(probedAt));
  for (const facts of keys) {
    const labels = { key: facts.key, region: facts.region, use: facts.use };
    add('strongroom_kms_up', labels, isUp(facts, since, silenceMs, now));
    add('strongroom_kms_last_success_timestamp_seconds', labels, seconds(facts.lastSuccessAt));
    if (facts.state !== null) add('strongroom_kms_key_state', { ...labels, state: facts.state }, 1);
    add(
      'strongroom_kms_key_deletion_seconds',
      labels,
      facts.deletionAt === null ? null : (facts.deletionAt.getTime() - now.getTime()) / 1000,
    );
  }
  for (const [node, end] of login.certificates) {
    add('strongroom_certificate_expiry_timestamp_seconds', { node }, seconds(end));
  }
  add('strongroom_client_certificate_expiry_timestamp_seconds', {}, seconds(login.clientCertificateEndsAt));
  if (login.token !== null) {
    const { endsAt, isRenewable } = login.token;
    add('strongroom_token_expiry_timestamp_seconds', { renewable: String(isRenewable) }, seconds(endsAt));
  }
  return samples;
}

function isUp({ triedAt, isUp: isAlive }: KeyFacts, since: Date, silenceMs: number, now: Date): number | null {
  if (now.getTime() - (triedAt ?? since).getTime() > silenceMs) return 0;
  return triedAt === null ? null : Number(isAlive);
}

function seconds(time: Date | null): number | null {
  return time === null ? null : time.getTime() / 1000;
}
