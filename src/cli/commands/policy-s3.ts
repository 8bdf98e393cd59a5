import { bucketPolicy } from '../../policy/bucket-policy.ts';
import type { Run } from '../define.ts';
import type { PolicyS3Flags } from '../definitions/policy.ts';
import { chooseBuckets, parseGrants, showPolicies } from '../policy.ts';

export const run: Run<PolicyS3Flags> = async function (flags) {
  const config = await this.config(flags.config);
  const principals = parseGrants(flags.grant);
  const buckets = chooseBuckets(config, flags.destination, this.output.json);
  const results = buckets.map((bucket) => ({
    bucket: bucket.bucket,
    destinations: bucket.uses.map(({ name }) => name),
    ...bucketPolicy(bucket, principals, { writeOnce: flags.writeOnce }),
  }));
  const name = buckets[0]?.bucket ?? '';
  showPolicies(this, results, `apply: aws s3api put-bucket-policy --bucket ${name} --policy file://<file>`);
};
