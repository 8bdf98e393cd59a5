import type { Config } from '../../config/load.ts';
import { StrongroomError } from '../../core/errors.ts';
import { keyPolicy, type PolicyKey, policyKeys } from '../../policy/key-policy.ts';
import type { Run } from '../define.ts';
import type { PolicyKmsFlags } from '../definitions/policy.ts';
import { parseGrants, showPolicies, unknown } from '../policy.ts';

export const run: Run<PolicyKmsFlags> = async function (flags) {
  const config = await this.config(flags.config);
  const principals = parseGrants(flags.grant);
  const keys = chooseKeys(config, flags.key, this.output.json);
  const results = keys.map((key) => ({
    key: key.arn,
    uses: [...new Set(key.uses.map(({ kind }) => kind))],
    ...keyPolicy(key, principals, config),
  }));
  const isWhole = results[0]?.document.Statement.some(({ Sid }) => Sid === 'Administer') === true;
  const arn = keys[0]?.arn ?? '';
  showPolicies(
    this,
    results,
    isWhole
      ? `apply: aws kms put-key-policy --key-id ${arn} --policy-name default --policy file://<file>`
      : `add to: aws kms get-key-policy --key-id ${arn} --policy-name default --query Policy --output text`,
  );
};

/** The key with that ARN or id; without one every key for --json, else the only one. Throws E_USAGE. */
function chooseKeys(config: Config, named: string | undefined, all: boolean): PolicyKey[] {
  const keys = policyKeys(config);
  const arns = keys.map(({ arn }) => arn);
  if (keys.length === 0) {
    throw new StrongroomError('E_USAGE', `${config.file} names no KMS key by its ARN`, {
      hint: 'there is nothing to write a policy for',
    });
  }
  if (named === undefined) {
    if (keys.length === 1 || all) return keys;
    throw new StrongroomError('E_USAGE', `${config.file} has ${keys.length} KMS keys; which one?`, {
      hint: `--key ${arns.join(' | ')}`,
    });
  }
  const found = keys.filter(({ arn }) => arn === named || arn.endsWith(`/${named}`));
  const [only] = found;
  if (only === undefined) throw unknown(`no KMS key "${named}" in ${config.file}`, named, arns);
  // The replicas of a multi-region key share their id.
  if (found.length > 1) {
    throw new StrongroomError('E_USAGE', `"${named}" is the id of ${found.length} keys; which one?`, {
      hint: `--key ${found.map(({ arn }) => arn).join(' | ')}`,
    });
  }
  return [only];
}
