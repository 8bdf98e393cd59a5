/** No identity, file key or private key in any value, error or log line, however deep somebody looks. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { KMSClient } from '@aws-sdk/client-kms';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLog } from '../../../src/core/log.ts';
import { Secret } from '../../../src/core/secret.ts';
import { decrypt, newContainer } from '../../../src/crypt/container.ts';
import { generateBreakGlass, generateSigningKey, writeSecretFile } from '../../../src/crypt/generate.ts';
import { unwrapIdentity, wrapIdentity } from '../../../src/crypt/keyring.ts';
import { KmsKey } from '../../../src/crypt/kms.ts';
import { kmsClientOptions } from '../../../src/crypt/kms-call.ts';
import { parseIdentities, recipientKind } from '../../../src/crypt/recipients.ts';
import { parseSidecar, serialiseSidecar } from '../../../src/crypt/sidecar.ts';
import { localSigner } from '../../../src/crypt/sign.ts';
import { pieces, released } from './bytes.ts';
import { AWAY, CONTEXT, HOME, OTHER, startWorld, type World } from './kms-world.ts';

const signal = new AbortController().signal;
let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

/** Everything that a value shows of itself to a console, a JSON body and a log. */
function shown(value: unknown): string {
  let logged = '';
  const log = createLog('info', { write: (line: string) => void (logged += line) });
  log.info({ err: value, value }, String(value));
  const json = JSON.stringify(value, (_key, inner: unknown) => (inner instanceof Error ? inspect(inner) : inner));
  return `${inspect(value, { depth: 20, showHidden: true, getters: true })}\n${json}\n${logged}\n${String(value)}`;
}

describe('secrets stay secret', () => {
  it('in containers, key pairs and signers', async () => {
    const glass = await generateBreakGlass();
    const signing = generateSigningKey();
    const container = await newContainer([glass.recipient]);
    const pem = signing.privateKeyPem.reveal().split('\n')[1] ?? '';
    const text = shown({ glass, signing, container, signer: localSigner(signing.privateKeyPem) });
    for (const secret of [glass.identity.reveal(), container.identity.reveal(), pem]) {
      expect(secret.length).toBeGreaterThan(40);
      expect(text).not.toContain(secret.slice(20, 60));
    }
    expect(text).toContain(glass.recipient);
  });

  it('in every error that can be provoked', async () => {
    const [own, glass, foreign] = [await generateBreakGlass(), await generateBreakGlass(), await generateBreakGlass()];
    const secrets = [own, glass, foreign].map(({ identity }) => identity.reveal());
    const home = world.key(world.kms.createKey({ region: HOME }));
    const down = world.key(world.kms.createKey({ region: AWAY }), 'root', 60);
    world.kms.fail({ region: AWAY, with: 'hang' });
    const options = { kms: [home, down], breakGlass: [glass.recipient], policy: {}, now: new Date() };
    const sidecar = await wrapIdentity(own.identity, CONTEXT, options, signal);
    const container = await newContainer([glass.recipient]);
    const { bytes } = await released(container.encrypt(pieces(Buffer.from('x'), 1)));
    const typo = new Secret(`${secrets[0]?.slice(0, -1)}${secrets[0]?.endsWith('Q') ? 'P' : 'Q'}`);
    const other = { ...sidecar, ...OTHER };
    const opened = { kms: [home, down], identities: [glass.identity, foreign.identity] };
    const failing: (() => unknown)[] = [
      () => wrapIdentity(own.identity, CONTEXT, { ...options, policy: { minKmsWraps: 2 } }, signal),
      () => wrapIdentity(typo, CONTEXT, { ...options, kms: [down] }, signal),
      () => unwrapIdentity(other, opened, signal),
      () => unwrapIdentity(sidecar, { kms: [], identities: [typo] }, signal),
      () => unwrapIdentity(sidecar, opened, signal, { recipient: foreign.recipient }),
      () => decryptAll([foreign.identity], bytes),
      () => decryptAll([typo], bytes),
      () => decryptAll([glass.identity], bytes.subarray(0, -1)),
      () => parseIdentities(new Secret(`# x\n${typo.reveal()}`)),
      () => recipientKind(secrets[0] ?? ''),
      () => newContainer([secrets[1] ?? '']),
      () => parseSidecar(serialiseSidecar({ ...sidecar, wraps: [] }), CONTEXT),
      () => parseSidecar(Buffer.from(JSON.stringify({ ...sidecar, [secrets[0] ?? '']: secrets[1] })), CONTEXT),
      () => localSigner(new Secret(`-----BEGIN PRIVATE KEY-----\n${secrets[0]}\n-----END PRIVATE KEY-----`)),
      () => writeSecretFile('/nonexistent/directory/x', own.file),
    ];
    for (const [index, fail] of failing.entries()) {
      let error: unknown;
      try {
        await fail();
      } catch (e) {
        error = e;
      }
      expect(error, `case ${index} did not fail`).toBeInstanceOf(Error);
      const text = shown(error).toUpperCase();
      for (const secret of [...secrets, typo.reveal()])
        expect(text, `case ${index}`).not.toContain(secret.slice(20, 40));
    }
  });

  it('in an error about an answer of KMS that is no JSON', async () => {
    const { identity } = await generateBreakGlass();
    const plaintext = Buffer.from(`${identity.reveal()}\n`).toString('base64');
    const server = createServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' });
      // The parser quotes ten characters before the place where it stumbles.
      response.end(`["${plaintext}",oops]`);
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const client = new KMSClient({
      ...kmsClientOptions(HOME),
      maxAttempts: 1,
      endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
    });
    try {
      const keyId = world.kms.createKey({ region: HOME });
      const wrap = { type: 'aws-kms', region: HOME, keyId, ciphertext: 'AAAA' } as const;
      const key = new KmsKey({ client, keyId, region: HOME });
      const error: unknown = await key.unwrap(wrap, CONTEXT, signal).catch((e: unknown) => e);
      expect(error).toMatchObject({ code: 'E_KEY_UNAVAILABLE' });
      expect(shown(error)).not.toContain(plaintext.slice(20, 40));
      expect(shown(error)).not.toContain(plaintext.slice(-6));
    } finally {
      client.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });
});

async function decryptAll(identities: Secret<string>[], bytes: Uint8Array): Promise<void> {
  const { error } = await released(decrypt(identities)(pieces(bytes, 100)));
  throw error;
}
