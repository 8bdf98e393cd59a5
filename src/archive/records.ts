/** What the name of a record tells. Names are in clear in every archive, values are not. Namespaces repeat the tree. */

export type Kind =
  | 'lease'
  | 'policy'
  | 'token'
  | 'audit'
  | 'namespace'
  | 'static-role'
  | 'wal'
  | 'version'
  | 'active-node'
  | 'openbao-table'
  | 'vault-table';

export type KeyClass = {
  /** first path parts: `core`, `sys/policy`, `logical`, `namespaces` … */
  area: string;
  /** uuid of the OpenBao namespace; null for the root namespace */
  namespace: string | null;
  /** `logical/<uuid>` or `auth/<uuid>` */
  mount: string | null;
  kind: Kind | null;
  /** what the kind is told apart by: request path of a lease, device uuid, version; else empty */
  name: string;
};

const NAMESPACES = 'namespaces/';
const LEASES = 'sys/expire/id/';

/** Classifies a key of either product. Never throws: an unknown name makes an area of its own and has no kind. */
export function classifyKey(key: string): KeyClass {
  let namespace: string | null = null;
  let path = key;
  if (key.startsWith(NAMESPACES)) {
    const end = key.indexOf('/', NAMESPACES.length);
    if (end > 0) {
      namespace = key.slice(NAMESPACES.length, end);
      path = key.slice(end + 1);
    }
  }
  const [first, second, third] = path.split('/', 3);
  const mount =
    (first === 'logical' || first === 'auth') && third !== undefined && second !== undefined
      ? `${first}/${second}`
      : null;
  const area =
    namespace !== null ? 'namespaces' : first === 'sys' && third !== undefined ? `sys/${second}` : (first ?? '');
  return { area, namespace, mount, ...kindOf(path, namespace, mount, second, third) };
}

type Named = { kind: Kind | null; name: string };

function kindOf(path: string, namespace: string | null, mount: string | null, second?: string, third?: string): Named {
  if (path.startsWith(LEASES)) {
    const end = path.lastIndexOf('/');
    const request = path.slice(LEASES.length, Math.max(end, LEASES.length));
    return { kind: 'lease', name: namespace === null ? request : `${NAMESPACES}${namespace}/${request}` };
  }
  if (mount !== null) return mount.startsWith('logical/') ? engineKind(third) : nothing;
  if (path.startsWith('sys/policy/')) return { kind: 'policy', name: '' };
  if (path.startsWith('sys/token/id/')) return { kind: 'token', name: '' };
  if (path.startsWith('audit/')) return { kind: 'audit', name: second ?? '' };
  if (path.startsWith('core/')) return coreKind(path, second, third);
  return nothing;
}

/** Third part of `logical/<uuid>/…`. Static roles: database and ldap say `static-role`, aws says `static-roles`. */
function engineKind(third: string | undefined): Named {
  if (third === 'static-role' || third === 'static-roles') return { kind: 'static-role', name: '' };
  return third === 'wal' ? { kind: 'wal', name: '' } : nothing;
}

function coreKind(path: string, second: string | undefined, third: string | undefined): Named {
  if (path === 'core/lock' || second === 'leader') return { kind: 'active-node', name: '' };
  if (second === 'versions' && third !== undefined) return { kind: 'version', name: third };
  if (second === 'namespaces' && third !== undefined) return { kind: 'namespace', name: third };
  // OpenBao keeps one record for each mount (transactional tables), Vault one for all of them.
  if (second === 'mounts' || second === 'auth') {
    return { kind: third === undefined ? 'vault-table' : 'openbao-table', name: '' };
  }
  return nothing;
}

const nothing: Named = { kind: null, name: '' };

/** The later of two versions (`1.21.4`, `2.7.2-beta1`, `1.19.0+ent`): parts compared as numbers, a pre-release is earlier. */
export function laterVersion(a: string, b: string): string {
  const [x, y] = [versionParts(a), versionParts(b)];
  for (let i = 0; i < 3; i += 1) {
    const difference = (x.numbers[i] ?? 0) - (y.numbers[i] ?? 0);
    if (difference !== 0) return difference > 0 ? a : b;
  }
  if (x.preRelease === '' || y.preRelease === '') return x.preRelease === '' ? a : b;
  return x.preRelease >= y.preRelease ? a : b;
}

function versionParts(version: string): { numbers: number[]; preRelease: string } {
  const [core = '', ...rest] = (version.split('+')[0] ?? '').split('-');
  return { numbers: core.split('.').map((part) => Number.parseInt(part, 10) || 0), preRelease: rest.join('-') };
}
