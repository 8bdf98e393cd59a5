import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DecryptCommand, DescribeKeyCommand, EncryptCommand, KMSClient, SignCommand } from '@aws-sdk/client-kms';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type KmsEmulator, startKms } from '../support/kms-emulator.ts';

const REGION = 'eu-central-1';
const PLAIN = Buffer.from('plain');
const SENT = { Plaintext: PLAIN, EncryptionContext: { cluster: 'prod' } };

let kms: KmsEmulator;
const clients: KMSClient[] = [];

beforeAll(async () => {
  kms = await startKms();
});
afterEach(() => {
  kms.heal();
  kms.clearCalls();
  for (const client of clients.splice(0)) client.destroy();
});
afterAll(async () => {
  await kms[Symbol.asyncDispose]();
});

function client(
  options: { accessKeyId?: string; region?: string; attempts?: number; to?: KmsEmulator } = {},
): KMSClient {
  const made = new KMSClient({
    region: options.region ?? REGION,
    endpoint: (options.to ?? kms).url,
    maxAttempts: options.attempts ?? 1,
    credentials: { accessKeyId: options.accessKeyId ?? 'anyone', secretAccessKey: 'unused' },
  });
  clients.push(made);
  return made;
}

const encrypt = (arn: string, by = client()) => by.send(new EncryptCommand({ KeyId: arn, ...SENT }));

describe('faults', () => {
  test.each([
    ['AccessDeniedException', 'AccessDeniedException'],
    ['throttle', 'ThrottlingException'],
    [500, 'KMSInternalException'],
    ['KMSInvalidStateException', 'KMSInvalidStateException'],
  ] as const)('%s reaches the SDK as %s', async (kind, name) => {
    const arn = kms.createKey({ region: REGION });
    const fault = kms.fail({ operation: 'Encrypt', with: kind });
    await expect(encrypt(arn)).rejects.toMatchObject({ name });
    expect(fault.hits).toBe(1);
    fault.remove();
    await expect(encrypt(arn)).resolves.toMatchObject({ KeyId: arn });
  });

  test('a fault on one key leaves the others alone', async () => {
    const [bad, good] = [kms.createKey({ region: REGION }), kms.createKey({ region: REGION })];
    using fault = kms.fail({ keyId: bad, with: 'AccessDeniedException' });
    await expect(encrypt(bad)).rejects.toMatchObject({ name: 'AccessDeniedException' });
    await expect(encrypt(good)).resolves.toMatchObject({ KeyId: good });
    expect(fault.hits).toBe(1);
  });

  test('a fault on a region leaves the replica alone', async () => {
    const arn = kms.createKey({ region: REGION, multiRegion: true });
    const replica = kms.replicateKey(arn, 'eu-west-1');
    kms.fail({ region: REGION, with: 500 });
    await expect(encrypt(arn)).rejects.toMatchObject({ name: 'KMSInternalException' });
    await expect(encrypt(replica, client({ region: 'eu-west-1' }))).resolves.toMatchObject({ KeyId: replica });
  });

  test('a fault that lasts for two hits is over for the third try of the SDK', async () => {
    const arn = kms.createKey({ region: REGION });
    const fault = kms.fail({ with: 'throttle', times: 2 });
    await expect(encrypt(arn, client({ attempts: 3 }))).resolves.toMatchObject({ KeyId: arn });
    expect(fault.hits).toBe(2);
  });

  test('hang never answers, refuse ends the connection', async () => {
    const arn = kms.createKey({ region: REGION });
    using hang = kms.fail({ operation: 'Encrypt', with: 'hang' });
    const given = new AbortController();
    const asked = client().send(new EncryptCommand({ KeyId: arn, ...SENT }), { abortSignal: given.signal });
    const outcome = asked.then(
      () => 'answered',
      (e: unknown) => (e instanceof Error ? e.name : 'unknown'),
    );
    await expect.poll(() => hang.hits).toBe(1);
    given.abort();
    expect(await outcome).toBe('AbortError');
    hang.remove();
    kms.fail({ operation: 'Encrypt', with: 'refuse' });
    await expect(encrypt(arn)).rejects.toMatchObject({ code: 'ECONNRESET' });
  });

  test('stop refuses connections; start brings the same keys back on the same port', async () => {
    const arn = kms.createKey({ region: REGION });
    const { CiphertextBlob } = await encrypt(arn);
    const url = kms.url;
    await kms.stop();
    await expect(encrypt(arn)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await kms.start();
    expect(kms.url).toBe(url);
    const opened = await client().send(
      new DecryptCommand({ CiphertextBlob, EncryptionContext: SENT.EncryptionContext }),
    );
    expect(Buffer.from(opened.Plaintext ?? [])).toEqual(PLAIN);
  });
});

describe('rights', () => {
  test('a credential with grants may do only that', async () => {
    const arn = kms.createKey({ region: REGION });
    kms.grant('writer', ['Encrypt', 'DescribeKey'], arn);
    const writer = client({ accessKeyId: 'writer' });
    const { CiphertextBlob } = await encrypt(arn, writer);
    const decrypt = new DecryptCommand({ CiphertextBlob, EncryptionContext: SENT.EncryptionContext });
    await expect(writer.send(decrypt)).rejects.toThrow('not authorized to perform: kms:Decrypt');
    await expect(encrypt(kms.createKey({ region: REGION }), writer)).rejects.toMatchObject({
      name: 'AccessDeniedException',
    });
    await expect(client().send(decrypt)).resolves.toMatchObject({ KeyId: arn });
    kms.revoke('writer');
    await expect(writer.send(decrypt)).resolves.toMatchObject({ KeyId: arn });
  });

  test('a request without credentials is nobody', async () => {
    const response = await fetch(kms.url, {
      method: 'POST',
      headers: { 'x-amz-target': 'TrentService.ListKeys' },
      body: '{}',
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ __type: 'MissingAuthenticationTokenException' });
  });
});

describe('record', () => {
  test('tells operation, key, context, sender and outcome, and no plaintext', async () => {
    const arn = kms.createKey({ region: REGION });
    await encrypt(arn, client({ accessKeyId: 'writer-2' }));
    kms.disableKey(arn);
    await expect(encrypt(arn)).rejects.toMatchObject({ name: 'DisabledException' });
    const call = { operation: 'Encrypt', region: REGION, keyArn: arn, context: SENT.EncryptionContext };
    expect(kms.calls).toEqual([
      { ...call, accessKeyId: 'writer-2', outcome: 'ok' },
      { ...call, accessKeyId: 'anyone', outcome: 'DisabledException' },
    ]);
    expect(JSON.stringify(kms.calls)).not.toContain(PLAIN.toString('base64'));
  });

  test('an unknown operation is refused, not ignored', async () => {
    const response = await fetch(kms.url, { method: 'POST', headers: { 'x-amz-target': 'TrentService.Nothing' } });
    expect(await response.json()).toMatchObject({ __type: 'UnknownOperationException' });
  });
});

describe('life of a key', () => {
  test('a destroyed key is gone, and so is what it encrypted', async () => {
    const arn = kms.createKey({ region: REGION });
    const { CiphertextBlob } = await encrypt(arn);
    kms.destroyKey(arn);
    await expect(client().send(new DescribeKeyCommand({ KeyId: arn }))).rejects.toMatchObject({
      name: 'NotFoundException',
    });
    await expect(
      client().send(new DecryptCommand({ CiphertextBlob, EncryptionContext: SENT.EncryptionContext })),
    ).rejects.toMatchObject({ name: 'AccessDeniedException' });
  });

  test('a state file carries keys, states and aliases to the next emulator', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'strongroom-kms-'));
    try {
      const stateFile = join(folder, 'kms.json');
      await using first = await startKms({ stateFile });
      const arn = first.createKey({ region: REGION, alias: 'alias/seal', multiRegion: true });
      const replica = first.replicateKey(arn, 'eu-west-1');
      const signer = first.createKey({ region: REGION, spec: 'ECC_NIST_P256' });
      const { CiphertextBlob } = await encrypt('alias/seal', client({ to: first }));
      first.disableKey(replica);
      await first.stop();
      expect((await stat(stateFile)).mode & 0o777).toBe(0o600);

      await using second = await startKms({ stateFile });
      const opened = await client({ to: second }).send(
        new DecryptCommand({ CiphertextBlob, KeyId: 'alias/seal', EncryptionContext: SENT.EncryptionContext }),
      );
      expect(Buffer.from(opened.Plaintext ?? [])).toEqual(PLAIN);
      const away = client({ to: second, region: 'eu-west-1' });
      await expect(away.send(new DescribeKeyCommand({ KeyId: replica }))).resolves.toMatchObject({
        KeyMetadata: { KeyState: 'Disabled', MultiRegionConfiguration: { MultiRegionKeyType: 'REPLICA' } },
      });
      const sign = { KeyId: signer, Message: PLAIN, SigningAlgorithm: 'ECDSA_SHA_256' } as const;
      await expect(client({ to: second }).send(new SignCommand(sign))).resolves.toMatchObject({ KeyId: signer });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
