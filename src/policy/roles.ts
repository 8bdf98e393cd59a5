/** Who runs what: one login for each, so that the one that runs every hour can do the least. */

/**
 * `backup` takes snapshots and can open none; `restore` opens them, and makes one of what it overwrites; `verify` reads and
 * opens (also for export); `rewrap` changes who can open; `prune` is the only one that deletes; `serve` reads the catalogue.
 */
export const ROLES = ['backup', 'restore', 'verify', 'rewrap', 'prune', 'serve'] as const;
export type Role = (typeof ROLES)[number];

/** Those that talk to the cluster itself. */
export const VAULT_ROLES = ['backup', 'restore'] as const satisfies readonly Role[];
export type VaultRole = (typeof VAULT_ROLES)[number];

/** Who is meant by a role in a bucket or key policy: ARNs, or user names of a store that has its own. */
export type Principals = Readonly<Partial<Record<Role, readonly string[]>>>;

/** Does it make snapshots? A restore does, too: of what it is about to overwrite. */
export function makesSnapshots(role: Role): boolean {
  return role === 'backup' || role === 'restore';
}
