import { chooseCluster } from '../../config/cluster-config.ts';
import { vaultPolicy } from '../../policy/vault.ts';
import type { Run } from '../define.ts';
import type { PolicyVaultFlags } from '../definitions/policy.ts';
import { showPolicies } from '../policy.ts';

export const run: Run<PolicyVaultFlags> = async function (flags) {
  const config = await this.config(flags.config);
  const names = this.output.json && flags.cluster === undefined ? Object.keys(config.clusters) : [flags.cluster];
  const results = names.map((name) => {
    const cluster = chooseCluster(config, name);
    return { cluster: cluster.name, for: flags.for, ...vaultPolicy(flags.for, cluster) };
  });
  showPolicies(this, results, `apply: bao policy write strongroom-${flags.for} <file> (or vault policy write)`);
};
