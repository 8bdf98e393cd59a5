import { isError, StrongroomError } from '../../core/errors.ts';
import { parseDuration } from '../../core/units.ts';
import { lifecycle } from '../../policy/lifecycle.ts';
import type { Run } from '../define.ts';
import type { PolicyLifecycleFlags } from '../definitions/policy.ts';
import { chooseBuckets, showPolicies } from '../policy.ts';

const DAY_MS = 86_400_000;

export const run: Run<PolicyLifecycleFlags> = async function (flags) {
  const config = await this.config(flags.config);
  const expireDays = flags.expireAfter === undefined ? null : wholeDays(flags.expireAfter);
  const buckets = chooseBuckets(config, flags.destination, this.output.json);
  const results = buckets.map((bucket) => ({
    bucket: bucket.bucket,
    destinations: bucket.uses.map(({ name }) => name),
    ...lifecycle(bucket, { expireDays }),
  }));
  const name = buckets[0]?.bucket ?? '';
  showPolicies(
    this,
    results,
    `apply: aws s3api put-bucket-lifecycle-configuration --bucket ${name} --lifecycle-configuration file://<file>`,
  );
};

/** S3 counts in days. */
function wholeDays(value: string): number {
  const refuse = (why: string, cause?: unknown): StrongroomError =>
    new StrongroomError('E_USAGE', `--expire-after ${value} ${why}`, {
      hint: 'write whole days, such as 90d',
      ...(cause === undefined ? {} : { cause }),
    });
  let ms: number;
  try {
    ms = parseDuration(value);
  } catch (e) {
    throw isError(e) ? refuse('is not a duration', e) : e;
  }
  if (ms < DAY_MS || ms % DAY_MS !== 0) throw refuse('is no number of whole days');
  return ms / DAY_MS;
}
