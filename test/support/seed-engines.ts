/** Seeded engines: encryption as a service, a certificate authority, a namespace with a mount of its own. */
import { randomBytes } from 'node:crypto';
import { compare, put, putWhenReady, type SeedPart, textAt } from './seed-part.ts';

const TRANSIT = 'seed-transit';
const PKI = 'seed-pki';
const KEY = 'orders';

type Transit = { plaintext: string; ciphertexts: string[] };

export const transit: SeedPart<Transit> = {
  async write(context) {
    await put(context, `sys/mounts/${TRANSIT}`, { type: 'transit' });
    await put(context, `${TRANSIT}/keys/${KEY}`);
    const plaintext = randomBytes(24).toString('base64');
    const ciphertexts: string[] = [];
    // One ciphertext per key version: a restore must bring back the old versions of the key too.
    for (let version = 1; version <= 2; version += 1) {
      ciphertexts.push(textAt(await put(context, `${TRANSIT}/encrypt/${KEY}`, { plaintext }), 'data', 'ciphertext'));
      await put(context, `${TRANSIT}/keys/${KEY}/rotate`);
    }
    return { plaintext, ciphertexts };
  },
  async verify(context, { plaintext, ciphertexts }) {
    const found: string[] = [];
    for (const ciphertext of ciphertexts) {
      const path = `${TRANSIT}/decrypt/${KEY}`;
      const { node, token, signal } = context;
      const answer = await node.request('POST', path, { token, signal, body: { ciphertext } });
      const version = ciphertext.split(':')[1] ?? '';
      if (answer.status !== 200) found.push(`${path} of ${version} answers ${answer.status}`);
      else if (textAt(answer, 'data', 'plaintext') !== plaintext) found.push(`${path} of ${version} gives other data`);
    }
    return found;
  },
};

type Pki = { authority: string; serial: string; certificate: string };

export const pki: SeedPart<Pki> = {
  async write(context) {
    const key = { key_type: 'ec', key_bits: 256 };
    await put(context, `sys/mounts/${PKI}`, { type: 'pki', config: { max_lease_ttl: '8760h' } });
    const root = await put(context, `${PKI}/root/generate/internal`, {
      common_name: 'seed root',
      ttl: '8760h',
      ...key,
    });
    await put(context, `${PKI}/roles/web`, { allow_any_name: true, generate_lease: true, ...key });
    const issued = await put(context, `${PKI}/issue/web`, { common_name: 'seed.example', ttl: context.leaseTtl });
    return {
      authority: textAt(root, 'data', 'certificate').trim(),
      serial: textAt(issued, 'data', 'serial_number'),
      certificate: textAt(issued, 'data', 'certificate').trim(),
    };
  },
  async verify(context, { authority, serial, certificate }) {
    const found: string[] = [];
    for (const [name, expected] of [
      ['ca', authority],
      [serial, certificate],
    ] as const) {
      const answer = await context.node.request('GET', `${PKI}/cert/${name}`, { token: context.token });
      if (answer.status !== 200) found.push(`${PKI}/cert/${name} answers ${answer.status}`);
      else if (textAt(answer, 'data', 'certificate').trim() !== expected) found.push(`${PKI}/cert/${name} differs`);
    }
    found.push(...(await compare(context, `${PKI}/roles/web`, ['data', 'generate_lease'], true)));
    return found;
  },
};

type Namespace = { path: string; data: Record<string, string> };
const NAMESPACE = 'seed-team';

export const namespaces: SeedPart<Namespace[]> = {
  async write(context) {
    const made: Namespace[] = [];
    await put(context, `sys/namespaces/${NAMESPACE}`);
    await put(context, 'sys/namespaces/inner', {}, { namespace: NAMESPACE });
    for (const path of [NAMESPACE, `${NAMESPACE}/inner`]) {
      const data = { of: path, value: randomBytes(18).toString('base64') };
      await put(context, 'sys/mounts/kv', { type: 'kv', options: { version: '2' } }, { namespace: path });
      await putWhenReady(context, 'kv/data/own', { data }, { namespace: path });
      made.push({ path, data });
    }
    return made;
  },
  async verify(context, made) {
    const found: string[] = [];
    for (const { path, data } of made) {
      const differs = await compare(context, 'kv/data/own', ['data', 'data'], data, { namespace: path });
      found.push(...differs.map((difference) => `${path}/${difference}`));
    }
    return found;
  },
};
