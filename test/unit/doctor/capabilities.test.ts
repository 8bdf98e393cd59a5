import { describe, expect, it } from 'vitest';
import { type Capabilities, judgeCapabilities, pathsToAsk, secretPath } from '../../../src/doctor/capabilities.ts';
import { vaultRights } from '../../../src/policy/vault.ts';

const rights = vaultRights('backup', { auth: { method: 'cert', mount: 'cert' } });
const mounts = [
  { path: 'team/', type: 'kv', isVersioned: true },
  { path: 'old/', type: 'kv', isVersioned: false },
];
const least: Record<string, readonly string[]> = {};
for (const path of pathsToAsk(rights, mounts)) least[path] = ['deny'];
for (const { path, capabilities } of rights) least[path] = capabilities;
const judge = (change: Capabilities) => judgeCapabilities({ ...least, ...change }, { rights, mounts, fix: 'less' });
const bad = (change: Capabilities) => judge(change).filter(({ status }) => status !== 'ok');

describe('capabilities', () => {
  it('are good when they are those of the least policy', () => {
    expect(judge({}).map(({ what, status }) => [what, status])).toEqual([
      ['policy', 'ok'],
      ['too many rights', 'ok'],
    ]);
  });

  it.each(rights)('tell the line that is missing: $path', ({ path, capabilities }) => {
    const isVital = path.startsWith('sys/storage/raft/');
    expect(bad({ [path]: ['deny'] })).toMatchObject([
      {
        what: 'policy',
        status: isVital ? 'problem' : 'warning',
        fix: expect.stringContaining(`path "${path}"`) as string,
      },
    ]);
    expect(bad({ [path]: ['deny'] })[0]?.fix).toContain(`["${capabilities.join('", "')}"]`);
  });

  it('are missing where the server does not speak of a path', () => {
    expect(judgeCapabilities({}, { rights, mounts, fix: 'less' }).filter(({ what }) => what === 'policy')).toHaveLength(
      rights.length,
    );
  });

  it.each([
    ['sys/policies/acl/strongroom-doctor-probe', 'update', 'problem'],
    ['sys/raw/core/keyring', 'read', 'problem'],
    ['auth/token/create', 'sudo', 'problem'],
    ['sys/seal', 'sudo', 'warning'],
    ['sys/storage/raft/snapshot-force', 'update', 'warning'],
    ['strongroom-doctor-probe', 'read', 'warning'],
  ])('are too many: %s %s', (path, capability, status) => {
    expect(bad({ [path]: [capability] })).toMatchObject([{ what: 'too many rights', status, fix: 'less' }]);
  });

  it('see an update of sys/seal without sudo for the nothing that it is', () => {
    expect(bad({ 'sys/seal': ['update'] })).toEqual([]);
  });

  it('look into each secret engine at the place where its secrets are', () => {
    expect(mounts.map(secretPath)).toEqual(['team/data/strongroom-doctor-probe', 'old/strongroom-doctor-probe']);
    expect(bad({ 'team/data/strongroom-doctor-probe': ['read'] })[0]?.detail).toContain('secrets of team/');
  });

  it('say of a root token only that it is one', () => {
    expect(judge({ 'sys/seal': ['root'] })).toMatchObject([{ what: 'token', status: 'problem' }]);
  });
});
