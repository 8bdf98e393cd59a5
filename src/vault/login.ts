/** The ways to a token: what is sent where. Knows nothing of time, renewal or revocation. */
import { readFile } from 'node:fs/promises';
import { isError, StrongroomError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import { type Call, checked, type NodeClient } from './client.ts';
import { authSchema, type LoginAnswer } from './schemas.ts';

/** Where pods find the token of their service account. */
export const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';

/** `mount` is the path below `auth/`; its default is the name of the method. */
export type LoginMethod =
  | { method: 'approle'; mount?: string; roleId: string; secretId?: Secret }
  | { method: 'kubernetes'; mount?: string; role: string; jwtFile?: string }
  | { method: 'jwt'; mount?: string; role?: string; jwt: Secret | { file: string } }
  | { method: 'cert'; mount?: string; role?: string }
  | { method: 'userpass'; mount?: string; username: string; password: Secret };

export type VaultAuth = { method: 'token'; token: Secret } | LoginMethod;

export type Login = {
  token: Secret;
  /** 0 = does not expire */
  ttlMs: number;
  renewable: boolean;
  /** batch tokens live nowhere: they can be neither renewed nor revoked */
  type: 'service' | 'batch';
  /** 0 = any number of requests */
  uses: number;
};

/**
 * Logs in on `client`'s node. Refused credentials are E_VAULT_LOGIN and must not be tried again: that would lock the
 * account. What has nothing to do with them (sealed, unreachable, standby, rate limit, namespace) keeps its own code.
 */
export async function login(
  client: NodeClient,
  auth: LoginMethod,
  namespace: string | undefined,
  signal: AbortSignal,
): Promise<Login> {
  const { path, body } = await loginRequest(auth, signal);
  const call: Call = { method: 'POST', path, body, namespace, signal };
  const answer = await client.ask(call);
  if (answer.status !== 200) throw refusedLogin(client.refused(answer, call), answer.status, auth, client.url);
  const granted = checked(authSchema, answer, path, client.url).auth;
  if (granted.client_token === '') {
    throw new StrongroomError('E_VAULT_LOGIN', `the ${auth.method} login on ${client.url} asks for a second factor`, {
      hint: 'a program cannot answer: use a role or user without login MFA',
      details: { node: client.url, path },
    });
  }
  return toLogin(granted);
}

/** What a login granted, in our units. */
function toLogin(granted: LoginAnswer): Login {
  return {
    token: new Secret(granted.client_token),
    ttlMs: granted.lease_duration * 1000,
    renewable: granted.renewable,
    type: granted.token_type === 'batch' ? 'batch' : 'service',
    uses: granted.num_uses ?? 0,
  };
}

async function loginRequest(
  auth: LoginMethod,
  signal: AbortSignal,
): Promise<{ path: string; body: Record<string, unknown> }> {
  const base = `auth/${encodePath(auth.mount ?? auth.method)}/login`;
  switch (auth.method) {
    case 'approle':
      return {
        path: base,
        body: {
          role_id: new Secret(auth.roleId),
          ...(auth.secretId === undefined ? {} : { secret_id: auth.secretId }),
        },
      };
    case 'kubernetes':
      return {
        path: base,
        body: { role: auth.role, jwt: await readJwt(auth.jwtFile ?? SERVICE_ACCOUNT_TOKEN, signal) },
      };
    case 'jwt': {
      const jwt = auth.jwt instanceof Secret ? auth.jwt : await readJwt(auth.jwt.file, signal);
      return { path: base, body: { ...(auth.role === undefined ? {} : { role: auth.role }), jwt } };
    }
    case 'cert':
      return { path: base, body: auth.role === undefined ? {} : { name: auth.role } };
    case 'userpass':
      return { path: `${base}/${encodeURIComponent(auth.username)}`, body: { password: auth.password } };
  }
}

/** Read anew for each login: the kubelet replaces projected tokens within their hour. */
async function readJwt(file: string, signal: AbortSignal): Promise<Secret> {
  let text: string;
  try {
    text = (await readFile(file, { encoding: 'utf8', signal })).trim();
  } catch (e) {
    if (signal.aborted) throw signal.reason;
    throw new StrongroomError('E_CONFIG_INVALID', `the token file ${file} for the login cannot be read`, {
      hint: 'in a pod: is automountServiceAccountToken on, or the projected volume mounted?',
      details: { file },
      cause: e,
    });
  }
  if (text === '') {
    throw new StrongroomError('E_CONFIG_INVALID', `the token file ${file} for the login is empty`, {
      details: { file },
    });
  }
  return new Secret(text);
}

function refusedLogin(meant: StrongroomError, status: number, auth: LoginMethod, node: string): StrongroomError {
  const aboutCredentials =
    isError(meant, 'E_VAULT_DENIED') || (isError(meant, 'E_VAULT_RESPONSE') && [400, 401, 404].includes(status));
  if (!aboutCredentials) return meant;
  const mount = auth.mount ?? auth.method;
  const server = typeof meant.details['server'] === 'string' ? `: ${meant.details['server']}` : '';
  return new StrongroomError('E_VAULT_LOGIN', `the ${auth.method} login on ${node} is refused${server}`, {
    hint: `check the credentials and the role, and that the method is mounted at auth/${mount} (bao auth list)`,
    details: { node, method: auth.method, mount, status },
    retryable: false,
    cause: meant,
  });
}

function encodePath(mount: string): string {
  return mount
    .split('/')
    .filter((part) => part !== '')
    .map(encodeURIComponent)
    .join('/');
}
