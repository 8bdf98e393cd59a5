/** New keys, and the one safe way to put them into a file. */
import { generateKeyPairSync } from 'node:crypto';
import { open, realpath, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { StrongroomError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import { newIdentity } from './recipients.ts';
import { exportPem, fingerprint } from './sign.ts';

export type BreakGlassKey = {
  identity: Secret<string>;
  recipient: string;
  /** what `age-keygen` would have written: two comment lines and the identity */
  file: Secret<string>;
};

/** A break-glass key pair. Post-quantum ones (`age1pq1…`) need age 1.3 on the day of recovery; older ones do not know them. */
export async function generateBreakGlass(options: { postQuantum?: boolean; now?: Date } = {}): Promise<BreakGlassKey> {
  const { identity, recipient } = await newIdentity(options.postQuantum === true ? 'post-quantum' : 'classic');
  const created = (options.now ?? new Date()).toISOString().replace(/\.\d+Z$/, 'Z');
  const file = new Secret(`# created: ${created}\n# public key: ${recipient}\n${identity.reveal()}\n`);
  return { identity, recipient, file };
}

export type SigningKey = {
  /** PKCS #8, unencrypted */
  privateKeyPem: Secret<string>;
  publicKeyPem: string;
  /** SHA-256 (hex) of the public key's SPKI DER */
  keyId: string;
};

/** A P-256 key pair for signing manifests. */
export function generateSigningKey(): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  return {
    privateKeyPem: new Secret(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()),
    publicKeyPem: exportPem(publicKey),
    keyId: fingerprint(publicKey),
  };
}

/**
 * Writes `secret` to a new file that only its owner may read (0600), synced to disk with its directory.
 *
 * E_PRECONDITION when something is at `path` already (nothing is ever overwritten, a link not followed) or when `path` is
 * inside a git work tree, where the next commit would publish it; E_NOT_FOUND when its directory is missing. After any
 * failure no file of ours is left.
 */
export async function writeSecretFile(path: string, secret: Secret<string>): Promise<void> {
  const target = join(await directoryOf(path), basename(path));
  await refuseGit(target);
  const file = await open(target, 'wx', 0o600).catch((e: unknown) => {
    throw cannotCreate(target, e);
  });
  try {
    await using writing = file;
    await writing.writeFile(secret.reveal());
    await writing.sync();
  } catch (e) {
    await rm(target, { force: true });
    throw cannotCreate(target, e);
  }
  await using directory = await open(dirname(target), 'r');
  await directory.sync();
}

async function directoryOf(path: string): Promise<string> {
  const directory = dirname(resolve(path));
  try {
    return await realpath(directory);
  } catch (e) {
    throw new StrongroomError('E_NOT_FOUND', `there is no directory ${directory}`, {
      hint: 'create it, readable for you alone: mkdir -m 700',
      cause: e,
    });
  }
}

async function refuseGit(target: string): Promise<void> {
  for (let at = dirname(target); ; at = dirname(at)) {
    // A directory in a clone, a file in a linked work tree or submodule.
    if (await exists(join(at, '.git'))) {
      throw new StrongroomError('E_PRECONDITION', `${target} is inside the git work tree ${at}`, {
        hint: 'write the secret outside of it, best onto removable media',
      });
    }
    if (at === dirname(at)) return;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (e) {
    if (codeOf(e) === 'ENOENT' || codeOf(e) === 'ENOTDIR') return false;
    throw e;
  }
}

function cannotCreate(target: string, e: unknown): StrongroomError {
  if (codeOf(e) === 'EEXIST') {
    return new StrongroomError('E_PRECONDITION', `${target} exists already`, {
      hint: 'a secret is never overwritten: choose another name',
      cause: e,
    });
  }
  if (codeOf(e) === 'ENOSPC') return new StrongroomError('E_SPACE', `there is no room for ${target}`, { cause: e });
  return new StrongroomError('E_PRECONDITION', `${target} cannot be written`, { cause: e });
}

function codeOf(e: unknown): string | undefined {
  return e instanceof Error && 'code' in e && typeof e.code === 'string' ? e.code : undefined;
}
