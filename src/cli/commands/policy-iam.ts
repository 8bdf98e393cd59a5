import { chooseCluster } from '../../config/cluster-config.ts';
import { StrongroomError } from '../../core/errors.ts';
import { identityPolicy } from '../../policy/iam.ts';
import type { Run } from '../define.ts';
import type { PolicyIamFlags } from '../definitions/policy.ts';
import { chooseBuckets, showPolicies } from '../policy.ts';

export const run: Run<PolicyIamFlags> = async function (flags) {
  const config = await this.config(flags.config);
  const { destination } = flags;
  if (destination !== undefined) chooseBuckets(config, destination, false);
  const names = this.output.json && flags.cluster === undefined ? Object.keys(config.clusters) : [flags.cluster];
  const results = names.map((name) => {
    const cluster = chooseCluster(config, name);
    const only = destination === undefined ? {} : { destination };
    const made = identityPolicy(config, cluster.name, flags.for, only);
    return { cluster: cluster.name, for: flags.for, destination: destination ?? null, ...made };
  });
  const [only] = results;
  if (results.length === 1 && only?.document.Statement.length === 0) {
    throw new StrongroomError('E_USAGE', `${flags.for} of ${only.cluster} needs nothing of AWS there`, {
      hint: 'its destinations are directories, or others than the one named, and it uses no KMS key',
    });
  }
  showPolicies(
    this,
    results,
    `apply: aws iam put-role-policy --role-name <role> --policy-name strongroom-${flags.for} --policy-document file://<file>`,
  );
};
