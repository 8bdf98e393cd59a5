/**
 * The rules between sections. They look at the data as written, not at what the schema made of it: so they also speak
 * while something else in the file is wrong, and one run shows every mistake. What has the wrong form itself reads as
 * null here, and is left to the schema.
 */
import { z } from 'zod';
import type { Finding } from './explain.ts';
import { NAME } from './fields.ts';
import type { Path } from './positions.ts';
import { REFERENCE } from './secret.ts';
import { nearest } from './suggest.ts';

const keyed = z.looseObject({ keyId: z.string() });
const encryptionPart = z.looseObject({
  kms: z.array(keyed).nullish().catch(null),
  breakGlass: z.array(z.string()).nullish().catch(null),
  minKmsWraps: z.number().nullish().catch(null),
  minBreakGlass: z.number().nullish().catch(null),
  declineKms: z.unknown().optional(),
  declineBreakGlass: z.unknown().optional(),
});
type EncryptionPart = z.output<typeof encryptionPart>;

const clusterPart = z.looseObject({
  destinations: z.array(z.unknown()).catch([]),
  encryption: encryptionPart.nullish().catch(null),
  sealKms: keyed.nullish().catch(null),
  retention: z
    .looseObject({ destinations: z.record(z.string(), z.unknown()).nullish().catch(null) })
    .nullish()
    .catch(null),
});
const sinkPart = z.looseObject({ clusters: z.array(z.unknown()).catch([]) });
const notificationsPart = z.looseObject({ sinks: z.record(z.string(), sinkPart.nullable().catch(null)).catch({}) });
const following = z.looseObject({ objectLock: z.looseObject({ follow: z.literal('retention') }) });
const configPart = z.looseObject({
  destinations: z.record(z.string(), z.unknown()).nullish().catch(null),
  encryption: encryptionPart.nullish().catch(null),
  clusters: z.record(z.string(), clusterPart.nullable().catch(null)).catch({}),
  notifications: notificationsPart.nullish().catch(null),
});

type Report = (path: Path, message: string) => void;

/** Every break of a rule between sections in `data`, as it came out of the YAML. */
export function applyRules(data: unknown): Finding[] {
  const parsed = configPart.safeParse(data);
  if (!parsed.success) return [];
  const { destinations, encryption, clusters, notifications } = parsed.data;
  const findings = new Map<string, Finding>();
  // Clusters share the top-level block: its mistakes are told once.
  const report: Report = (path, message) => {
    findings.set(`${path.join('.')} ${message}`, { path, message, what: 'value' });
  };
  const sections = { destination: Object.keys(destinations ?? {}), cluster: Object.keys(clusters) };
  for (const [what, names] of Object.entries(sections)) {
    for (const name of names.filter((text) => !NAME.test(text))) {
      const message = `not the name of a ${what}; write lower-case letters, digits and inner dashes, at most 63`;
      findings.set(`${what} ${name}`, { path: [`${what}s`, name], message, what: 'key' });
    }
  }
  for (const [name, sink] of Object.entries(notifications?.sinks ?? {})) {
    const at = ['notifications', 'sinks', name];
    if (!NAME.test(name)) {
      const message = 'not the name of a sink; write lower-case letters, digits and inner dashes, at most 63';
      findings.set(`sink ${name}`, { path: at, message, what: 'key' });
    }
    const report: Report = (path, message) => {
      findings.set(`${name} ${path.join('.')}`, { path: [...at, 'clusters', ...path], message, what: 'value' });
    };
    checkNames('cluster', sink?.clusters ?? [], sections.cluster, report);
  }
  for (const [name, cluster] of Object.entries(clusters)) {
    if (cluster === null) continue;
    if (destinations !== null && destinations !== undefined) {
      checkNames('destination', cluster.destinations, Object.keys(destinations), (path, message) =>
        report(['clusters', name, 'destinations', ...path], message),
      );
    }
    checkFollowers(cluster, destinations ?? {}, (path, message) => report(['clusters', name, ...path], message));
    for (const finding of checkOverrides(cluster, ['clusters', name])) findings.set(finding.path.join('.'), finding);
    if (encryption === null || cluster.encryption === null) continue;
    const base = cluster.encryption === undefined ? ['encryption'] : ['clusters', name, 'encryption'];
    const merged = { ...encryption, ...cluster.encryption };
    checkEncryption(merged, (path, message) => report([...base, ...path], message));
    const sealKey = cluster.sealKms?.keyId;
    if (sealKey !== undefined && merged.kms?.some(({ keyId }) => keyId === sealKey) === true) {
      report(
        ['clusters', name, 'sealKms', 'keyId'],
        'the seal of this cluster and its backups hang on one key, and are lost together; wrap backups with another key',
      );
    }
  }
  return [...findings.values()];
}

function checkNames(what: string, names: readonly unknown[], known: readonly string[], report: Report): void {
  for (const [index, name] of names.entries()) {
    if (typeof name !== 'string' || known.includes(name)) continue;
    const meant = nearest(name, known);
    report([index], `no such ${what}; ${meant === null ? `known: ${known.join(', ')}` : `did you mean ${meant}?`}`);
  }
}

/** A lock that follows the retention needs one to follow. */
function checkFollowers(
  cluster: z.output<typeof clusterPart>,
  destinations: Readonly<Record<string, unknown>>,
  report: Report,
): void {
  if (cluster.retention !== undefined) return;
  for (const [index, name] of cluster.destinations.entries()) {
    if (typeof name !== 'string' || !Object.hasOwn(destinations, name)) continue;
    const isFollower = following.safeParse(destinations[name]).success;
    if (!isFollower) continue;
    report(
      ['destinations', index],
      `locks follow a retention there, and this cluster has none; write retention here, or objectLock.keep in ${name}`,
    );
  }
}

/** Options of retention for a destination that is none of the cluster's would never be asked for. */
function checkOverrides(cluster: z.output<typeof clusterPart>, at: Path): Finding[] {
  const known = cluster.destinations.filter((name) => typeof name === 'string');
  // A cluster without destinations is told so; each override would be another echo of that.
  if (known.length === 0) return [];
  const names = Object.keys(cluster.retention?.destinations ?? {}).filter((name) => !known.includes(name));
  return names.map((name) => {
    const meant = nearest(name, known);
    const choice = meant === null ? `known: ${known.join(', ')}` : `did you mean ${meant}?`;
    return {
      path: [...at, 'retention', 'destinations', name],
      message: `no destination of this cluster; ${choice}`,
      what: 'key',
    };
  });
}

function checkEncryption(part: Partial<EncryptionPart>, report: Report): void {
  const { kms = [], breakGlass = [], minKmsWraps = 1, minBreakGlass = 1 } = part;
  checkPromise(
    { min: 'minKmsWraps', decline: 'declineKms', list: 'kms', thing: 'KMS key' },
    { min: minKmsWraps, isDeclined: part.declineKms !== undefined, entries: kms?.length ?? null },
    report,
  );
  // A file may hold any number of recipients: that is counted when it is read.
  const hasFiles = breakGlass?.some((recipient) => REFERENCE.test(recipient)) ?? true;
  checkPromise(
    { min: 'minBreakGlass', decline: 'declineBreakGlass', list: 'breakGlass', thing: 'break-glass recipient' },
    {
      min: minBreakGlass,
      isDeclined: part.declineBreakGlass !== undefined,
      entries: hasFiles ? null : (breakGlass?.length ?? null),
    },
    report,
  );
  if (kms?.length === 0 && breakGlass?.length === 0 && minKmsWraps === 0 && minBreakGlass === 0) {
    report([], 'nobody could open a snapshot; add a KMS key or a break-glass recipient');
  }
  const inline = breakGlass?.filter((recipient) => recipient.startsWith('age1')) ?? [];
  const postQuantum = inline.filter((recipient) => /^age1(?:tag)?pq1/.test(recipient));
  if (postQuantum.length > 0 && postQuantum.length < inline.length) {
    report(
      ['breakGlass'],
      'post-quantum and classic recipients together are as weak as the classic one; write only age1pq1… or only age1…',
    );
  }
}

/** A safeguard is either kept (enough entries) or declined in words (minimum 0 and a reason), never dropped silently. */
function checkPromise(
  names: { min: string; decline: string; list: string; thing: string },
  value: { min: number | null; isDeclined: boolean; entries: number | null },
  report: Report,
): void {
  const { min, isDeclined, entries } = value;
  if (min === null) return;
  if (min === 0 && !isDeclined) {
    report([names.min], `declines every ${names.thing} without a word; say why in ${names.decline}, or write 1`);
  }
  if (min > 0 && isDeclined) {
    report([names.decline], `declined and demanded at once; write ${names.min}: 0 too, or delete this line`);
  } else if (entries !== null && entries < min) {
    report(
      [names.list],
      `${entries} of at least ${min}; add a ${names.thing}, or write ${names.min}: 0 and say why in ${names.decline}`,
    );
  }
}
