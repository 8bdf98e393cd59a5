/** What a raft snapshot archive tells without any key. Part of the manifest: versioned with it. */

export type RaftServer = { id: string; address: string; suffrage: 'voter' | 'nonvoter' | 'staging' };

export type AreaCount = { area: string; records: number; bytes: number };

export type ArchiveReport = {
  /** size of the archive as it came, gzip included */
  bytes: number;
  /** SHA-256 (hex) of those bytes; null unless it was asked for: it costs as much again as the rest of the reading */
  sha256: string | null;
  /** ISO 8601, by the clock of the server that wrote the archive */
  writtenAt: string;
  members: { name: string; bytes: number; sha256: string }[];
  /** `stored` = gzip level 0 (OpenBao >= 2.6) */
  compression: 'stored' | 'deflate';
  product: 'openbao' | 'vault' | 'unknown';
  /** the newest `core/versions/<semver>` key; null when the archive has none */
  productVersion: string | null;
  raft: {
    index: number;
    term: number;
    /** `Version` and `ID` of meta.json */
    version: number;
    id: string;
    configurationIndex: number;
    servers: RaftServer[];
  };
  seal: {
    /** `type` of core/seal-config: shamir, awskms, transit, static … */
    type: string;
    /** unseal key shares and threshold (1/1 for auto seals) */
    shares: number;
    threshold: number;
    /** recovery shares and threshold, auto seals only */
    recovery: { shares: number; threshold: number } | null;
    /** key id in the clear part of core/hsm/barrier-unseal-keys and of SHA256SUMS.sealed: full ARN for awskms */
    keyIds: string[];
    /** SHA256SUMS.sealed is there, parses, and its ciphertext is long enough not to crash a Shamir Vault (>= 28 bytes) */
    sealedSums: 'present' | 'absent' | 'unusable';
  };
  state: {
    records: number;
    /** bytes of keys and values */
    bytes: number;
    /** by first path parts: core, sys/policy, sys/token, sys/expire, logical, auth, namespaces … */
    areas: AreaCount[];
    /** by mount uuid, `logical/<uuid>` and `auth/<uuid>`, namespaces included, largest first; see MAX_GROUPS of tally.ts */
    mounts: (AreaCount & { namespace: string | null })[];
    /** leases by request path, most first, at most 1000 paths: what an un-isolated restore may revoke */
    leases: { path: string; count: number }[];
    /** all leases, those of paths that `leases` leaves out included */
    leaseCount: number;
    /** `logical/<uuid>/static-role/<name>`: passwords that a restore may rotate */
    staticRoles: number;
    /** `logical/<uuid>/wal/<id>`: half-done operations that a restore may roll back */
    walEntries: number;
    policies: number;
    tokens: number;
    namespaces: number;
    auditDevices: number;
    /** `core/lock` or `core/leader/<uuid>` is there: where the active node was, and the key to speak to it */
    namesActiveNode: boolean;
    /** barrier values by encryption key term */
    terms: { term: number; records: number }[];
  };
  /** sentences for people, such as "41 leases would be revoked by an un-isolated restore" */
  cautions: string[];
};
