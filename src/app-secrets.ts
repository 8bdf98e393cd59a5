/** What a config says, as the adapters want it: the pure part of the composition root, and its secrets. */
import type { Destination } from './backup/options.ts';
import type { ClusterConfig } from './config/cluster-config.ts';
import type { AuthConfig, DestinationConfig, KmsKeyConfig } from './config/schema.ts';
import { StrongroomError } from './core/errors.ts';
import { DECLINE_BREAK_GLASS, DECLINE_KMS, type RecipientPolicy } from './crypt/policy.ts';
import type { RetentionPolicy } from './retention/facts.ts';
import type { LockLimits } from './retention/lock-until.ts';
import type { VaultAuth } from './vault/auth.ts';

/** The config's own words of declining were checked when it was loaded; the policy wants its fixed ones. */
export function recipientPolicy({ encryption }: ClusterConfig): RecipientPolicy {
  return {
    minKmsWraps: encryption.minKmsWraps,
    minBreakGlass: encryption.minBreakGlass,
    accept: {
      ...(encryption.declineKms === undefined ? {} : { noKms: DECLINE_KMS }),
      ...(encryption.declineBreakGlass === undefined ? {} : { noBreakGlass: DECLINE_BREAK_GLASS }),
    },
  };
}

/** The login of a cluster with its secrets read. Rejects when one cannot be. */
export async function readAuth(auth: AuthConfig, signal: AbortSignal): Promise<VaultAuth> {
  switch (auth.method) {
    case 'token':
      return { method: 'token', token: await auth.token.resolve(signal) };
    case 'approle': {
      const roleId = await auth.roleId.resolve(signal);
      return { method: 'approle', mount: auth.mount, roleId, secretId: await auth.secretId.resolve(signal) };
    }
    case 'userpass': {
      const { mount, username } = auth;
      return { method: 'userpass', mount, username, password: await auth.password.resolve(signal) };
    }
    case 'jwt': {
      const role = auth.role === undefined ? {} : { role: auth.role };
      return { method: 'jwt', mount: auth.mount, ...role, jwt: await auth.jwt.resolve(signal) };
    }
    case 'kubernetes':
    case 'cert':
      return auth;
  }
}

/** The keys of an AWS client; nothing where the SDK finds its own. Rejects when a secret cannot be read. */
export async function readCredentials(
  credentials: KmsKeyConfig['credentials'],
  signal: AbortSignal,
): Promise<{ credentials?: { accessKeyId: string; secretAccessKey: string; sessionToken?: string } }> {
  if (credentials === undefined) return {};
  const [id, secret, session] = await Promise.all([
    credentials.accessKeyId.resolve(signal),
    credentials.secretAccessKey.resolve(signal),
    credentials.sessionToken?.resolve(signal),
  ]);
  return {
    credentials: {
      accessKeyId: id.reveal(),
      secretAccessKey: secret.reveal(),
      ...(session === undefined ? {} : { sessionToken: session.reveal() }),
    },
  };
}

/** How locks of a destination follow the retention; null = they do not. */
export function followOf(options: DestinationConfig): LockLimits | null {
  const lock = options.type === 's3' ? options.objectLock : undefined;
  return lock?.follow === undefined ? null : { slackMs: lock.slack, maxMs: lock.max };
}

/** Why a prune may remove nothing from a destination: `{}` = nothing is against it. */
export function pruneRefusal(name: string, options: DestinationConfig): { refusal?: StrongroomError } {
  if (options.type !== 's3' || options.conditionalWrites) return {};
  const message = `destination ${name} has conditionalWrites: false: there the lease cannot keep two prunes apart`;
  return {
    refusal: new StrongroomError('E_PRECONDITION', message, {
      hint: 'use a store that keeps conditions, or let a lifecycle rule remove there: strongroom policy s3-lifecycle',
    }),
  };
}

/** The lock of new objects. Where it follows a retention that is not there, the shortest one. */
export function destinationLock(options: DestinationConfig, policy: RetentionPolicy | null): Destination['lock'] {
  const lock = options.type === 's3' ? options.objectLock : undefined;
  if (lock === undefined) return null;
  const limits = followOf(options);
  if (limits === null || policy === null) return { mode: lock.mode, keepMs: lock.keep ?? lock.slack };
  return { mode: lock.mode, keepMs: lock.slack, follow: { policy, limits } };
}

/** E_CONFIG_INVALID: `what` needs a signature, and nothing can sign. */
export function noSigner(what: string): StrongroomError {
  return new StrongroomError('E_CONFIG_INVALID', `${what}, and no signing key is configured`, {
    hint: 'set signing.key or signing.kms; strongroom keys generate makes one',
  });
}

/** E_CONFIG_INVALID: without a policy nothing is removed, whoever asks for it. */
export function noRetention(cluster: string): StrongroomError {
  return new StrongroomError('E_CONFIG_INVALID', `no retention is configured for ${cluster}: nothing of it is pruned`, {
    hint: `write clusters.${cluster}.retention, such as keepDaily: 14 and keepMonthly: 12`,
  });
}
