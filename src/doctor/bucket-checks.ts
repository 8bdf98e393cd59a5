/** A bucket, tried in every way that a backup uses it. */

import type { ErrorCode } from '../core/errors.ts';
import type { ClusterName } from '../core/ids.ts';
import { formatDuration } from '../core/units.ts';
import { inBucket, type S3Destination } from '../policy/buckets.ts';
import { kindPrefix, LAYOUT_VERSION } from '../store/layout.ts';
import type { LockRule, S3Inspector, Versioning } from '../store/s3-inspect.ts';
import type { Store } from '../store/store.ts';
import { type Outcome, ok, problem, unknown, warning } from './finding.ts';
import { judgeRules } from './lifecycle-rules.ts';
import { tryObjects } from './object-checks.ts';
import { ProbeObjects } from './probe-objects.ts';
import { attempt } from './run-checks.ts';

export type BucketSubject = {
  name: string;
  options: S3Destination;
  cluster: ClusterName;
  store: Store;
  inspector: S3Inspector;
  /** does a schedule of this config remove backups with this login? */
  prunes: boolean;
  now: Date;
};

export type Settings = { versioning: Versioning | null; lockRule: LockRule | null; mayDelete: boolean | null };

/** Whoever cannot be asked at all fails every question in the same words: one finding says it. */
const NO_ANSWER: readonly ErrorCode[] = ['E_STORE_BUCKET', 'E_STORE_UNREACHABLE', 'E_STORE_SKEW', 'E_STORE_THROTTLED'];

/** Leaves nothing behind, or says what. Rejects with the abort reason alone. */
export async function tryBucket(subject: BucketSubject, signal: AbortSignal): Promise<Outcome[]> {
  const { name, cluster, store, inspector } = subject;
  const named = (what: string): string => `${name}, ${what}`;
  const list = await attempt(named('list'), signal, async (limited) => {
    for await (const _ of store.list(kindPrefix(cluster, 'manifests'), { signal: limited })) break;
    return ok(named('list'), `backups of ${cluster} in ${store.location} can be listed`);
  });
  if (
    list.some(({ status, detail }) => status === 'problem' && NO_ANSWER.some((code) => detail.startsWith(`${code}:`)))
  ) {
    return [...list];
  }
  const settings: Settings = { versioning: null, lockRule: null, mayDelete: null };
  const outcomes: Outcome[] = [...list];
  const step = async (what: string, run: (limited: AbortSignal) => Promise<Outcome | readonly Outcome[]>) => {
    outcomes.push(...(await attempt(named(what), signal, run)));
  };
  await step('upload', async (limited) => {
    await store.probeWrite(kindPrefix(cluster, 'data'), { signal: limited, ...lockOf(subject) });
    const lock = subject.options.objectLock === undefined ? '' : ', with its lock';
    return ok(named('upload'), `an upload can be begun${lock}, and ended without leaving anything`);
  });
  outcomes.push(...(await settingsOf(subject, settings, signal)));
  await step('lifecycle', async (limited) => lifecycleOf(subject, settings, limited));
  const probes = new ProbeObjects(store, cluster);
  try {
    await step('delete', async (limited) => {
      const { versioning } = settings;
      settings.mayDelete = await inspector.mayDelete(probes.key(), { versioning }, limited);
      return await deletionOf(subject, settings, probes, limited);
    });
    outcomes.push(...(await tryObjects(subject, settings, probes, signal)));
  } finally {
    outcomes.push(await probes.remove(named('probe objects'), settings.versioning));
  }
  return outcomes;
}

function lockOf({ options, now }: BucketSubject): { lock?: { mode: 'governance' | 'compliance'; until: Date } } {
  const { objectLock } = options;
  if (objectLock === undefined) return {};
  return { lock: { mode: objectLock.mode, until: new Date(now.getTime() + (objectLock.keep ?? objectLock.slack)) } };
}

/** Fills `settings` as far as they may be asked for. */
async function settingsOf(subject: BucketSubject, settings: Settings, signal: AbortSignal): Promise<Outcome[]> {
  const { name, options, inspector } = subject;
  const asked = async (what: string, run: (limited: AbortSignal) => Promise<Outcome>): Promise<Outcome[]> => {
    const outcomes = await attempt(`${name}, ${what}`, signal, run);
    // The least login may not ask, and need not.
    return outcomes.map((one) =>
      one.detail.startsWith('E_STORE_DENIED:') ? unknown(one.what, 'this login may not ask', one.fix) : one,
    );
  };
  const versioning = await asked('versioning', async (limited) => {
    settings.versioning = await inspector.versioning(limited);
    const what = `${name}, versioning`;
    if (settings.versioning === 'suspended') {
      return warning(
        what,
        'suspended: what is replaced is gone, and old versions stay',
        'aws s3api put-bucket-versioning --versioning-configuration Status=Enabled',
      );
    }
    return ok(what, settings.versioning === 'on' ? 'on' : 'off: what is deleted is gone at once');
  });
  const lock = await asked('object lock', async (limited) => {
    settings.lockRule = await inspector.lockRule(limited);
    const { isEnabled, defaultDays } = settings.lockRule;
    const what = `${name}, object lock`;
    const { objectLock } = options;
    if (objectLock !== undefined && !isEnabled) {
      return problem(
        what,
        `objectLock is configured, and bucket ${options.bucket} has none: every upload would be refused`,
        'make the bucket anew with object lock enabled, or take objectLock out of this destination',
      );
    }
    if (defaultDays !== null) {
      const detail = `the bucket itself locks every object for ${defaultDays} days, also latest pointers and leases`;
      return warning(
        what,
        detail,
        'aws s3api put-object-lock-configuration without a default rule; objectLock of the config locks what has to be',
      );
    }
    if (objectLock === undefined)
      return ok(
        what,
        isEnabled ? 'the bucket could lock; the config does not ask for it' : 'none, and none is asked for',
      );
    const { mode, keep } = objectLock;
    return ok(what, `${mode}, ${keep === undefined ? 'as long as the retention keeps it' : formatDuration(keep)}`);
  });
  return [...versioning, ...lock];
}

async function lifecycleOf(
  subject: BucketSubject,
  { versioning }: Settings,
  signal: AbortSignal,
): Promise<readonly Outcome[]> {
  const { name, options, inspector } = subject;
  const what = `${name}, lifecycle`;
  const fix = `strongroom policy s3-lifecycle --destination ${name}`;
  const asked = await attempt(what, signal, async (limited) => {
    const rules = await inspector.lifecycleRules(limited);
    if (rules === null)
      return unknown(what, 'this store knows no lifecycle rules', 'let strongroom prune clear unfinished uploads');
    const root = inBucket(options, `${LAYOUT_VERSION}/`);
    return judgeRules(what, rules, { root, isVersioned: versioning === null ? null : versioning === 'on', fix });
  });
  return asked.map((one) =>
    one.detail.startsWith('E_STORE_DENIED:')
      ? unknown(what, 'this login may not ask for the rules', `${fix}, and compare by hand`)
      : one,
  );
}

async function deletionOf(
  { name, options, inspector, prunes }: BucketSubject,
  { mayDelete, versioning }: Settings,
  probes: ProbeObjects,
  signal: AbortSignal,
): Promise<Outcome[]> {
  const what = `${name}, delete`;
  if (mayDelete !== true) {
    if (!prunes) return [ok(what, 'this login may not delete, as is best for backups')];
    return [
      problem(
        what,
        'this login may not delete, and schedule.prune wants it to: nothing would ever be pruned',
        `strongroom policy iam --for prune --destination ${name}, or prune with another login`,
      ),
    ];
  }
  const may = prunes
    ? ok(what, 'this login may delete, as schedule.prune needs')
    : warning(
        what,
        'this login may delete: whoever gets it can remove every backup',
        `strongroom policy iam --for backup --destination ${name}`,
      );
  if (options.objectLock?.mode !== 'governance') return [may];
  const bypasses = await inspector.mayDelete(probes.key(), { versioning, bypass: true }, signal);
  if (!bypasses) return [may];
  const detail =
    'this login may delete what is locked in governance mode (s3:BypassGovernanceRetention): the lock holds off everybody else';
  return [
    may,
    warning(
      what,
      detail,
      'deny it s3:BypassGovernanceRetention, as strongroom policy s3 does, or use mode: compliance',
    ),
  ];
}
