/** Seeded ways in: policies, users and roles that log in, tokens and leases that run out. */
import { randomBytes } from 'node:crypto';
import { compare, get, pick, put, type SeedContext, type SeedPart, textAt } from './seed-part.ts';

type Policies = { name: string; policy: string }[];

export const policies: SeedPart<Policies> = {
  async write(context) {
    const made = [
      { name: 'seed-reader', policy: 'path "seed-kv1/*" { capabilities = ["read", "list"] }' },
      { name: 'seed-operator', policy: 'path "sys/health" { capabilities = ["read", "sudo"] }' },
    ];
    for (const { name, policy } of made) await put(context, `sys/policies/acl/${name}`, { policy });
    return made;
  },
  async verify(context, made) {
    const found: string[] = [];
    for (const { name, policy } of made) {
      found.push(...(await compare(context, `sys/policies/acl/${name}`, ['data', 'policy'], policy)));
    }
    return found;
  },
};

type Logins = { username: string; password: string; roleId: string; secretId: string };

const USERPASS = 'seed-userpass';
const APPROLE = 'seed-approle';
const POLICY = 'seed-reader';

export const logins: SeedPart<Logins> = {
  async write(context) {
    const [username, password] = ['alice', randomBytes(12).toString('base64url')];
    await put(context, `sys/auth/${USERPASS}`, { type: 'userpass' });
    await put(context, `auth/${USERPASS}/users/${username}`, { password, token_policies: POLICY });
    await put(context, `sys/auth/${APPROLE}`, { type: 'approle' });
    const role = `auth/${APPROLE}/role/app`;
    await put(context, role, { token_policies: POLICY, token_ttl: '1h' });
    const written = {
      username,
      password,
      roleId: textAt(await get(context, `${role}/role-id`), 'data', 'role_id'),
      secretId: textAt(await put(context, `${role}/secret-id`), 'data', 'secret_id'),
    };
    // The first login of somebody makes an identity entity: it belongs to the seed, not to its verification.
    const failed = await logIn(context, written);
    if (failed.length > 0) throw new Error(`the seeded users cannot log in: ${failed.join(', ')}`);
    return written;
  },
  verify: logIn,
};

async function logIn(context: SeedContext, { username, password, roleId, secretId }: Logins): Promise<string[]> {
  const { node, signal } = context;
  const found: string[] = [];
  for (const [path, body] of [
    [`auth/${USERPASS}/login/${username}`, { password }],
    [`auth/${APPROLE}/login`, { role_id: roleId, secret_id: secretId }],
  ] as const) {
    const answer = await node.request('POST', path, { body, signal });
    if (answer.status !== 200) {
      found.push(`${path} answers ${answer.status}`);
      continue;
    }
    const granted = pick(answer.json, ['auth', 'policies']);
    if (!Array.isArray(granted) || !granted.includes(POLICY)) found.push(`${path} gives other policies`);
    const token = textAt(answer, 'auth', 'client_token');
    await node.request('POST', 'auth/token/revoke-self', { token, signal });
  }
  return found;
}

type Leases = { token: string; accessor: string; leaseId: string | undefined };

export const leases: SeedPart<Leases> = {
  async write(context) {
    const made = await put(context, 'auth/token/create-orphan', {
      policies: [POLICY],
      ttl: context.leaseTtl,
      meta: { made: 'by the seed' },
    });
    const issued = await context.node.request('POST', 'seed-pki/issue/web', {
      token: context.token,
      body: { common_name: 'leased.example', ttl: context.leaseTtl },
    });
    return {
      token: textAt(made, 'auth', 'client_token'),
      accessor: textAt(made, 'auth', 'accessor'),
      // A dynamic secret only where there is an engine that gives one out.
      leaseId: issued.status === 200 ? textAt(issued, 'lease_id') : undefined,
    };
  },
  async verify(context, { token, accessor, leaseId }) {
    const found: string[] = [];
    const { node, signal } = context;
    const self = await node.request('GET', 'auth/token/lookup-self', { token, signal });
    if (self.status !== 200) found.push(`the token with a lease answers ${self.status}`);
    else if (textAt(self, 'data', 'accessor') !== accessor) found.push('the token with a lease is another one');
    if (leaseId !== undefined) {
      const lookup = { token: context.token, body: { lease_id: leaseId }, signal };
      const answer = await node.request('POST', 'sys/leases/lookup', lookup);
      if (answer.status !== 200) found.push(`the lease of a certificate answers ${answer.status}`);
    }
    return found;
  },
};
