import { KMSClient } from '@aws-sdk/client-kms';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KMS_CHECKS, type KmsUnderTest } from '../conformance/kms.ts';
import { startKms } from '../support/kms-emulator.ts';
import { startLocalStack } from '../support/s3-servers.ts';

/** Where LocalStack is known to differ from AWS, and how its answer reads. A deviation that is gone fails the suite. */
const LOCALSTACK_DEVIATES: Record<string, RegExp> = {
  'a flipped bit anywhere in the blob is refused as invalid ciphertext': /'NotFoundException' to be 'InvalidCipher/,
  're-encryption moves a blob to another key and context': /expected string or bytes-like object, got 'NoneType'/,
  'a blob of a key that is not in this region is refused without saying more':
    /'NotFoundException' to be 'AccessDenied/,
  'a symmetric key has no public half': /'success' to be 'UnsupportedOperation/,
  'P-256 signs with SHA-256 only': /'success' to be 'InvalidKeyUsage/,
};

const SERVERS = [
  { name: 'emulator', deviates: {}, start: async () => withEndpoint(await startKms(), ({ url }) => url) },
  {
    name: 'LocalStack',
    deviates: LOCALSTACK_DEVIATES,
    start: async () => withEndpoint(await startLocalStack(), ({ endpoint }) => endpoint),
  },
];

describe.each(SERVERS)('$name', ({ start, deviates }) => {
  const clients = new Map<string, KMSClient>();
  let server: AsyncDisposable & { endpoint: string };
  const kms: KmsUnderTest = {
    client: (region) => {
      const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
      const client = clients.get(region) ?? new KMSClient({ region, endpoint: server.endpoint, credentials });
      clients.set(region, client);
      return client;
    },
  };
  beforeAll(async () => {
    server = await start();
  });
  afterAll(async () => {
    for (const client of clients.values()) client.destroy();
    await server?.[Symbol.asyncDispose]();
  });

  test.each(KMS_CHECKS)('$name', async (check) => {
    const deviation = (deviates as Record<string, RegExp>)[check.name];
    if (deviation === undefined) await check.run(kms);
    else await expect(check.run(kms)).rejects.toThrow(deviation);
  });

  test('every named deviation is a check', () => {
    const names = KMS_CHECKS.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(Object.keys(deviates)));
    expect(new Set(names).size).toBe(names.length);
  });
});

function withEndpoint<S extends AsyncDisposable>(server: S, endpoint: (server: S) => string) {
  return { endpoint: endpoint(server), [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}
