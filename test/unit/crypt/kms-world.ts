/** A KMS emulator with two regions and one role per right, for the tests of keys. */
import { KMSClient } from '@aws-sdk/client-kms';
import { KmsKey } from '../../../src/crypt/kms.ts';
import { kmsClientOptions } from '../../../src/crypt/kms-call.ts';
import { type KmsEmulator, startKms } from '../../support/kms-emulator.ts';

export const HOME = 'eu-central-1';
export const AWAY = 'eu-west-1';
export const CONTEXT = { cluster: 'prod-eu-1', snapshot: '01KAM8DB5G0000000000000000' };
export const OTHER = { cluster: 'prod-eu-1', snapshot: '01KAM8DB5G0000000000000001' };

export type World = AsyncDisposable & {
  kms: KmsEmulator;
  client(region: string, accessKeyId?: string): KMSClient;
  /** A {@link KmsKey} with one try and a short deadline, as `accessKeyId`. */
  key(arn: string, accessKeyId?: string, deadlineMs?: number): KmsKey;
};

export async function startWorld(): Promise<World> {
  const kms = await startKms();
  const clients: KMSClient[] = [];
  const client = (region: string, accessKeyId = 'root'): KMSClient => {
    const made = new KMSClient({
      ...kmsClientOptions(region),
      maxAttempts: 1,
      endpoint: kms.url,
      credentials: { accessKeyId, secretAccessKey: 'not-checked' },
    });
    clients.push(made);
    return made;
  };
  return {
    kms,
    client,
    key: (arn, accessKeyId, deadlineMs) => {
      const region = arn.split(':')[3] ?? '';
      const options = { client: client(region, accessKeyId), keyId: arn, region };
      return new KmsKey(deadlineMs === undefined ? options : { ...options, deadlineMs });
    },
    async [Symbol.asyncDispose]() {
      for (const made of clients) made.destroy();
      await kms.stop();
    },
  };
}
