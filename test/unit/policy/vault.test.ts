import { expect, it } from 'vitest';
import { vaultPolicy, vaultRights } from '../../../src/policy/vault.ts';
import { changed, clusterOf, configOf, PLAIN } from './configs.ts';

const cluster = clusterOf(configOf(PLAIN));

it('gives every path its reason and its capabilities', () => {
  for (const role of ['backup', 'restore'] as const) {
    const { document } = vaultPolicy(role, cluster);
    for (const { path, capabilities, why } of vaultRights(role, cluster)) {
      const list = capabilities.map((capability) => `"${capability}"`).join(', ');
      expect(document).toContain(`# ${why}\npath "${path}" {\n  capabilities = [${list}]\n}\n`);
    }
    expect(document.match(/^path /gm)).toHaveLength(vaultRights(role, cluster).length);
    expect(document).not.toMatch(/sudo|\*|"(?:create|delete|list)"/);
  }
});

it('lets the backup change nothing but its own token', () => {
  const changing = vaultRights('backup', cluster).filter(({ capabilities }) => capabilities.includes('update'));
  expect(changing.map(({ path }) => path)).toEqual(['auth/token/renew-self', 'auth/token/revoke-self']);
});

it('does not revoke a token that was configured', () => {
  const text = 'method: approle, roleId: file:r, secretId: file:s';
  const configured = clusterOf(changed(PLAIN, text, 'method: token, token: env:T'));
  const paths = vaultRights('backup', configured).map(({ path }) => path);
  expect(paths).toContain('auth/token/renew-self');
  expect(paths).not.toContain('auth/token/revoke-self');
});

it('says that snapshots belong to the root namespace', () => {
  expect(vaultPolicy('backup', cluster).cautions).toEqual([]);
  const inside = clusterOf(changed(PLAIN, 'nodes:', 'namespace: team, nodes:'));
  expect(vaultPolicy('backup', inside).cautions.join()).toContain('namespace team');
});
