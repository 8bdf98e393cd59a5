/** The keys of the KMS emulator: where they are, in which state, and what each state forbids. */
import { randomUUID } from 'node:crypto';
import { type KeyMaterial, newP256Material, newSymmetricMaterial } from './kms-crypto.ts';
import { KmsError } from './kms-errors.ts';

export const ACCOUNT = '000000000000';

export type KeySpec = 'SYMMETRIC_DEFAULT' | 'ECC_NIST_P256';
export type KeyState = 'Enabled' | 'Disabled' | 'PendingDeletion';

/** One key in one region. Replicas of a multi-Region key are keys of their own that share id and material. */
export type KmsKey = {
  id: string;
  arn: string;
  region: string;
  spec: KeySpec;
  state: KeyState;
  description: string;
  createdAt: number;
  /** milliseconds since the epoch; only while pending */
  deletionAt: number | undefined;
  multiRegion: 'PRIMARY' | 'REPLICA' | undefined;
  material: KeyMaterial;
};

export type NewKey = { spec?: KeySpec; multiRegion?: boolean; description?: string };

export class KeyStore {
  readonly #keys: KmsKey[] = [];
  /** `region alias/name` to key id */
  readonly #aliases = new Map<string, string>();

  create(region: string, options: NewKey = {}): KmsKey {
    const spec = options.spec ?? 'SYMMETRIC_DEFAULT';
    const id = options.multiRegion === true ? `mrk-${randomUUID().replaceAll('-', '')}` : randomUUID();
    return this.add({
      id,
      arn: arnOf(region, id),
      region,
      spec,
      state: 'Enabled',
      description: options.description ?? '',
      createdAt: Date.now(),
      deletionAt: undefined,
      multiRegion: options.multiRegion === true ? 'PRIMARY' : undefined,
      material: spec === 'SYMMETRIC_DEFAULT' ? newSymmetricMaterial() : newP256Material(),
    });
  }

  add(key: KmsKey): KmsKey {
    this.#keys.push(key);
    return key;
  }

  replicate(key: KmsKey, region: string): KmsKey {
    if (key.multiRegion !== 'PRIMARY') {
      throw new KmsError('UnsupportedOperationException', `${key.arn} is not a multi-region primary key.`);
    }
    if (this.find(region, key.id) !== undefined) {
      throw new KmsError('AlreadyExistsException', `Key ${arnOf(region, key.id)} already exists`);
    }
    return this.add({
      ...key,
      arn: arnOf(region, key.id),
      region,
      state: 'Enabled',
      createdAt: Date.now(),
      deletionAt: undefined,
      multiRegion: 'REPLICA',
    });
  }

  find(region: string, id: string): KmsKey | undefined {
    const now = Date.now();
    const index = this.#keys.findIndex((key) => key.region === region && key.id === id);
    const key = this.#keys[index];
    // The waiting period is over: as on AWS, key and aliases are gone for good.
    if (key?.deletionAt !== undefined && key.deletionAt <= now) {
      this.#keys.splice(index, 1);
      for (const [alias, target] of this.#aliases) {
        if (target === id && alias.startsWith(`${region} `)) this.#aliases.delete(alias);
      }
      return undefined;
    }
    return key;
  }

  /** By key id, key ARN, alias name or alias ARN, as seen from `region`; NotFoundException as AWS words it. */
  get(region: string, name: string): KmsKey {
    let local = name;
    if (name.startsWith('arn:')) {
      const [, , , arnRegion, , ...rest] = name.split(':');
      if (arnRegion !== region) throw new KmsError('NotFoundException', `Invalid arn ${arnRegion ?? ''}`);
      local = rest.join(':').replace(/^key\//, '');
    }
    if (local.startsWith('alias/')) {
      const id = this.#aliases.get(`${region} ${local}`);
      const key = id === undefined ? undefined : this.find(region, id);
      if (key !== undefined) return key;
      throw new KmsError('NotFoundException', `Alias arn:aws:kms:${region}:${ACCOUNT}:${local} is not found.`);
    }
    const key = this.find(region, local);
    if (key === undefined) throw new KmsError('NotFoundException', `Key '${arnOf(region, local)}' does not exist`);
    return key;
  }

  list(region?: string): KmsKey[] {
    return this.#keys.filter(
      (key) => (region === undefined || key.region === region) && this.find(key.region, key.id) !== undefined,
    );
  }

  setAlias(key: KmsKey, alias: string): void {
    if (!/^alias\/[A-Za-z0-9/_-]+$/.test(alias))
      throw new KmsError('InvalidAliasNameException', `Invalid alias ${alias}`);
    if (this.#aliases.has(`${key.region} ${alias}`)) {
      const arn = `arn:aws:kms:${key.region}:${ACCOUNT}:${alias}`;
      throw new KmsError('AlreadyExistsException', `An alias with the name ${arn} already exists`);
    }
    this.#aliases.set(`${key.region} ${alias}`, key.id);
  }

  aliases(region: string): Array<{ name: string; keyId: string }> {
    return [...this.#aliases]
      .filter(([alias]) => alias.startsWith(`${region} `))
      .map(([alias, keyId]) => ({ name: alias.slice(region.length + 1), keyId }));
  }
}

/** Throws what AWS throws when the state of a key forbids using it. */
export function requireUsable(key: KmsKey): void {
  if (key.state === 'Disabled') throw new KmsError('DisabledException', `${key.arn} is disabled.`);
  if (key.state === 'PendingDeletion') throw pendingDeletion(key);
}

export function setEnabled(key: KmsKey, enabled: boolean): void {
  if (key.state === 'PendingDeletion') throw pendingDeletion(key);
  key.state = enabled ? 'Enabled' : 'Disabled';
}

/** `days` from 7 to 30, as on AWS. */
export function scheduleDeletion(key: KmsKey, days: number): void {
  if (key.state === 'PendingDeletion') throw pendingDeletion(key);
  key.state = 'PendingDeletion';
  key.deletionAt = Date.now() + days * 86_400_000;
}

/** Leaves the key disabled, as AWS does: cancelling a deletion does not bring the service back. */
export function cancelDeletion(key: KmsKey): void {
  if (key.state !== 'PendingDeletion') {
    throw new KmsError('KMSInvalidStateException', `${key.arn} is not pending deletion.`);
  }
  key.state = 'Disabled';
  key.deletionAt = undefined;
}

function arnOf(region: string, id: string): string {
  return `arn:aws:kms:${region}:${ACCOUNT}:key/${id}`;
}

function pendingDeletion(key: KmsKey): KmsError {
  return new KmsError('KMSInvalidStateException', `${key.arn} is pending deletion.`);
}
