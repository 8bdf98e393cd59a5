/** What a login may do in Vault, held against what it needs. Pure. */
import type { VaultRight } from '../policy/vault.ts';
import { type Outcome, ok, problem, warning } from './finding.ts';

/** Capabilities by path, as sys/capabilities-self tells them. */
export type Capabilities = Readonly<Record<string, readonly string[]>>;

type Excess = {
  path: string;
  /** any of these is too many */
  capabilities: readonly string[];
  /** with it the login can give itself everything */
  isEverything: boolean;
  can: string;
};

const WRITES = ['create', 'update', 'patch', 'delete'];
/** A name that nobody uses: a right on it is a right on all of its kind. */
const NOBODY = 'strongroom-doctor-probe';

/** Without these two there is no backup. The others make a run slower, or leave a token behind. */
const VITAL = new Set(['sys/storage/raft/snapshot', 'sys/storage/raft/configuration']);

const EXCESSES: readonly Excess[] = [
  excess(`sys/policies/acl/${NOBODY}`, WRITES, 'write policies, so it can give itself everything', true),
  excess(`sys/auth/${NOBODY}`, WRITES, 'add login methods, so it can give itself everything', true),
  excess('auth/token/create', ['sudo'], 'make tokens with any policy, so it can give itself everything', true),
  excess('sys/raw/core/keyring', ['read', ...WRITES], 'read and write raw storage', true),
  excess('sys/seal', ['sudo'], 'seal the cluster', false),
  excess('sys/step-down', ['sudo'], 'make the active node step down', false),
  excess('sys/storage/raft/snapshot', ['create', 'update'], 'replace the whole database by a restore', false),
  excess(
    'sys/storage/raft/snapshot-force',
    ['create', 'update'],
    'replace the whole database by a forced restore',
    false,
  ),
  excess('sys/storage/raft/remove-peer', ['update'], 'remove members of the cluster', false),
  excess(`sys/mounts/${NOBODY}`, WRITES, 'add and remove secret engines', false),
  excess(`sys/audit/${NOBODY}`, WRITES, 'add and remove audit devices', false),
  excess(NOBODY, ['read', 'list', ...WRITES], 'use paths that it was never given: a wildcard', false),
];

function excess(path: string, capabilities: readonly string[], can: string, isEverything: boolean): Excess {
  return { path, capabilities, can, isEverything };
}

export type Mount = { path: string; type: string; isVersioned: boolean };

/** A path of `mount` that nobody uses: below it secrets would be. */
export function secretPath({ path, isVersioned }: Mount): string {
  return `${path}${isVersioned ? 'data/' : ''}${NOBODY}`;
}

/** Every path to ask for. */
export function pathsToAsk(rights: readonly VaultRight[], mounts: readonly Mount[]): string[] {
  return [
    ...new Set([...rights.map(({ path }) => path), ...EXCESSES.map(({ path }) => path), ...mounts.map(secretPath)]),
  ];
}

/** `fix` is how the least-privilege policy is put in place. */
export function judgeCapabilities(
  found: Capabilities,
  { rights, mounts, fix }: { rights: readonly VaultRight[]; mounts: readonly Mount[]; fix: string },
): Outcome[] {
  if (Object.values(found).some((capabilities) => capabilities.includes('root'))) {
    return [problem('token', 'it is a root token: whoever gets it from this machine has the whole cluster', fix)];
  }
  return [...missing(found, rights), ...tooMany(found, mounts, fix)];
}

function missing(found: Capabilities, rights: readonly VaultRight[]): Outcome[] {
  const outcomes = rights.flatMap(({ path, capabilities, why }): Outcome[] => {
    const lacks = capabilities.filter((capability) => !(found[path] ?? []).includes(capability));
    if (lacks.length === 0) return [];
    const line = `add to its policy: path "${path}" { capabilities = [${lacks.map((c) => `"${c}"`).join(', ')}] }`;
    const detail = `the token may not ${lacks.join(' and ')} ${path}: ${why}`;
    return [VITAL.has(path) ? problem('policy', detail, line) : warning('policy', detail, line)];
  });
  return outcomes.length > 0
    ? outcomes
    : [ok('policy', `the token may do all that a backup needs (${rights.length} paths)`)];
}

function tooMany(found: Capabilities, mounts: readonly Mount[], fix: string): Outcome[] {
  const outcomes: Outcome[] = [];
  for (const { path, capabilities, isEverything, can } of EXCESSES) {
    const extra = (found[path] ?? []).filter((capability) => capabilities.includes(capability));
    if (extra.length === 0) continue;
    const detail = `the token can ${can} (${extra.join(', ')} on ${path})`;
    outcomes.push(isEverything ? problem('too many rights', detail, fix) : warning('too many rights', detail, fix));
  }
  for (const mount of mounts) {
    if (!(found[secretPath(mount)] ?? []).includes('read')) continue;
    outcomes.push(warning('too many rights', `the token can read secrets of ${mount.path}; no backup needs that`, fix));
  }
  return outcomes.length > 0 ? outcomes : [ok('too many rights', 'none of those that were looked for')];
}
