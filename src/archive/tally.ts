/** Counts the records of an archive into the parts of its report. Memory is bounded by MAX_GROUPS, not by the archive. */
import { StrongroomError } from '../core/errors.ts';
import { classifyKey, type KeyClass, laterVersion } from './records.ts';
import type { ArchiveReport } from './report.ts';
import { readSealedBlob } from './sealed.ts';
import type { StateRecord } from './state.ts';

/**
 * Mounts, lease paths, namespaces and so on beyond this many are counted, but not told apart, nor are names by what is
 * behind their first MAX_NAME characters: some MB at most. Names of keys have up to 32 KiB; the longest of a sane cluster,
 * that of a lease, is a path of some tens of characters.
 */
export const MAX_GROUPS = 20_000;
const MAX_NAME = 200;
const MAX_LEASE_PATHS = 1_000;
const OTHERS = '(others)';

/** Records that the barrier does not encrypt, or not with a key of the keyring: their first bytes are no term. */
const NOT_BY_TERM = new Set([
  'core/seal-config',
  'core/recovery-config',
  'core/hsm/barrier-unseal-keys',
  'core/recovery-key',
  'core/unseal-keys-backup',
  'core/recovery-keys-backup',
  'core/lock',
  'core/initialize-lock',
  'core/keyring',
]);
/** term (4), version (1), nonce (12), tag (16): barrier/aes_gcm.go */
const BARRIER_OVERHEAD = 33;

type Sizes = { records: number; bytes: number };

export class Tally {
  readonly #areas = new Map<string, Sizes>();
  readonly #mounts = new Map<string, Sizes & { area: string; namespace: string | null }>();
  readonly #leases = new Map<string, number>();
  readonly #terms = new Map<number, number>();
  readonly #audits = new Set<string>();
  readonly #counts = new Map<string, number>();
  readonly #clear = new Map<string, Buffer>();
  #records = 0;
  #bytes = 0;
  #version: string | null = null;
  #hasKeyring = false;
  #hasRootKey = false;
  #hasFeatureFlags = false;

  add(record: StateRecord): void {
    const { key, value, valueBytes } = record;
    const bytes = Buffer.byteLength(key) + valueBytes;
    this.#records += 1;
    this.#bytes += bytes;
    const it = classifyKey(key);
    addTo(this.#areas, cut(it.area), bytes, () => ({}));
    if (it.mount !== null) this.#addMount(it, it.mount, bytes);
    if (it.kind !== null) this.#addKind(it);
    if (key.startsWith('core/')) this.#addCore(key, value, valueBytes);
    this.#addTerm(key, value, valueBytes);
  }

  /** The report's `state`. */
  state(): ArchiveReport['state'] {
    const leases = [...this.#leases].map(([path, count]) => ({ path, count })).sort((a, b) => b.count - a.count);
    return {
      records: this.#records,
      bytes: this.#bytes,
      areas: [...this.#areas].map(([area, sizes]) => ({ area, ...sizes })).sort(bySize),
      mounts: [...this.#mounts.values()].sort(bySize),
      leases: leases.slice(0, MAX_LEASE_PATHS),
      leaseCount: this.#count('lease'),
      staticRoles: this.#count('static-role'),
      walEntries: this.#count('wal'),
      policies: this.#count('policy'),
      tokens: this.#count('token'),
      namespaces: this.#count('namespace'),
      auditDevices: this.#audits.size,
      namesActiveNode: this.#count('active-node') > 0,
      terms: [...this.#terms].map(([term, records]) => ({ term, records })).sort((a, b) => a.term - b.term),
    };
  }

  product(): Pick<ArchiveReport, 'product' | 'productVersion'> {
    return { product: this.#product(), productVersion: this.#version };
  }

  /** The seal as the state tells it. Throws E_SNAPSHOT_FORMAT when a record that no cluster can open without is missing. */
  seal(): Omit<ArchiveReport['seal'], 'sealedSums'> {
    const config = this.#sealConfig('core/seal-config');
    if (config === null) throw missing('core/seal-config');
    if (!this.#hasKeyring) throw missing('core/keyring');
    if (!this.#hasRootKey) throw missing('core/root-key or core/master');
    const stored = this.#clear.get('core/hsm/barrier-unseal-keys');
    // A cluster initialised before Vault 1.3 and not rekeyed since has none: there the shares give the root key itself.
    if (stored === undefined && config.type !== 'shamir') throw missing('core/hsm/barrier-unseal-keys');
    const blob = stored === undefined ? null : readSealedBlob(stored);
    if (stored !== undefined && blob === null) {
      throw new StrongroomError('E_SNAPSHOT_FORMAT', 'core/hsm/barrier-unseal-keys in state.bin is no sealed value', {
        details: { bytes: stored.length },
      });
    }
    const recovery = config.type === 'shamir' ? null : this.#sealConfig('core/recovery-config');
    return {
      ...config,
      recovery: recovery === null ? null : { shares: recovery.shares, threshold: recovery.threshold },
      keyIds: blob?.keyIds ?? [],
    };
  }

  // Early OpenBao had the single table too, and its versions begin at 2.0; the feature flags are Vault's alone.
  #product(): ArchiveReport['product'] {
    if (this.#count('openbao-table') > 0) return 'openbao';
    if (this.#count('vault-table') === 0) return 'unknown';
    return this.#hasFeatureFlags || (this.#version ?? '').startsWith('1.') ? 'vault' : 'unknown';
  }

  #addMount(it: KeyClass, mount: string, bytes: number): void {
    const namespace = it.namespace === null ? null : cut(it.namespace);
    const area = cut(mount);
    const id = namespace === null ? area : `${namespace}/${area}`;
    const isKnown = this.#mounts.has(id) || this.#mounts.size < MAX_GROUPS;
    const group = () =>
      isKnown
        ? { area: copy(area), namespace: namespace === null ? null : copy(namespace) }
        : { area: OTHERS, namespace: null };
    addTo(this.#mounts, isKnown ? id : OTHERS, bytes, group, MAX_GROUPS + 1);
  }

  #addKind(it: KeyClass): void {
    const kind = it.kind ?? '';
    this.#counts.set(kind, this.#count(kind) + 1);
    const name = cut(it.name);
    if (kind === 'version') this.#version = this.#version === null ? name : laterVersion(this.#version, name);
    if (kind === 'audit' && this.#audits.size < MAX_GROUPS && !this.#audits.has(name)) this.#audits.add(copy(name));
    if (kind === 'lease') {
      const count = this.#leases.get(name);
      if (count !== undefined) this.#leases.set(name, count + 1);
      else if (this.#leases.size < MAX_GROUPS) this.#leases.set(copy(name), 1);
      else this.#leases.set(OTHERS, (this.#leases.get(OTHERS) ?? 0) + 1);
    }
  }

  #addCore(key: string, value: Buffer, valueBytes: number): void {
    if (key === 'core/keyring') this.#hasKeyring = valueBytes > BARRIER_OVERHEAD;
    if (key === 'core/root-key' || key === 'core/master') this.#hasRootKey = valueBytes > BARRIER_OVERHEAD;
    if (key === 'core/cluster/feature-flags') this.#hasFeatureFlags = true;
    if (key === 'core/seal-config' || key === 'core/recovery-config' || key === 'core/hsm/barrier-unseal-keys') {
      this.#clear.set(key, Buffer.from(value));
    }
  }

  #addTerm(key: string, value: Buffer, valueBytes: number): void {
    if (valueBytes < BARRIER_OVERHEAD || NOT_BY_TERM.has(key) || key.startsWith('raftchunking/')) return;
    const [term, version] = [value.readUInt32BE(0), value[4]];
    // Keys are rotated once in 2^32 writes or by hand; a number past this is no term, and the map stays small.
    if ((version === 1 || version === 2) && term > 0 && term <= 0xffff) {
      this.#terms.set(term, (this.#terms.get(term) ?? 0) + 1);
    }
  }

  #sealConfig(key: string): { type: string; shares: number; threshold: number } | null {
    const json = this.#clear.get(key);
    if (json === undefined) return null;
    try {
      const config: unknown = JSON.parse(json.toString('utf8'));
      if (typeof config === 'object' && config !== null) {
        const { type, secret_shares: shares, secret_threshold: threshold } = config as Record<string, unknown>;
        if (typeof type === 'string' && type !== '' && isCount(shares) && isCount(threshold)) {
          return { type, shares, threshold };
        }
      }
    } catch (e) {
      throw new StrongroomError('E_SNAPSHOT_FORMAT', `${key} in state.bin is not JSON`, { cause: e });
    }
    throw new StrongroomError(
      'E_SNAPSHOT_FORMAT',
      `${key} in state.bin does not name a seal type, shares and threshold`,
    );
  }

  #count(kind: string): number {
    return this.#counts.get(kind) ?? 0;
  }
}

function addTo<T extends object>(
  groups: Map<string, Sizes & T>,
  name: string,
  bytes: number,
  create: () => T,
  limit = MAX_GROUPS,
): void {
  const known = groups.get(name) ?? (groups.size < limit ? undefined : groups.get(OTHERS));
  const group = known ?? { ...create(), records: 0, bytes: 0 };
  group.records += 1;
  group.bytes += bytes;
  if (known === undefined) groups.set(groups.size < limit ? copy(name) : OTHERS, group);
}

/** Well formed, so that a copy of it is the same name again. */
function cut(name: string): string {
  return name.length > MAX_NAME ? `${name.slice(0, MAX_NAME).toWellFormed()}…` : name;
}

/** A piece of a string keeps the whole string in memory, here a key of up to 32 KiB. */
function copy(name: string): string {
  return Buffer.from(name, 'utf8').toString('utf8');
}

function bySize(a: Sizes & { area: string }, b: Sizes & { area: string }): number {
  return b.bytes - a.bytes || (a.area < b.area ? -1 : 1);
}

/** What a manifest can hold: anything else would be accepted here, signed, and refused by every reader of the manifest. */
function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function missing(key: string): StrongroomError {
  return new StrongroomError('E_SNAPSHOT_FORMAT', `state.bin has no ${key}: no cluster can be opened from it`, {
    details: { member: 'state.bin', key },
    hint: 'the archive was taken from an uninitialised node, or records were taken out of it',
  });
}
