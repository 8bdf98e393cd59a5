/**
 * AWS clients that several runs share: a client of its own for each run would mean new connections, and for a role of the machine a new
 * login, with every backup.
 */
import { createHash } from 'node:crypto';
import type { KMSClient } from '@aws-sdk/client-kms';
import type { S3Client } from '@aws-sdk/client-s3';
import { readCredentials } from './app-secrets.ts';
import { openKmsClient, openS3Client } from './aws-clients.ts';
import type { DestinationConfig, KmsKeyConfig } from './config/schema.ts';

type S3DestinationConfig = Extract<DestinationConfig, { type: 's3' }>;
type Client = S3Client | KMSClient;
type Shared<T extends Client> = { client: Promise<T>; users: number; place: string };

/** Whoever asks first may be stopped in the middle, and others wait for the same client: it is made from what was just read. */
const NEVER = new AbortController().signal;

/** A client that was lent; disposing gives it back, and never touches what another run has in flight on it. */
export type Lent<T extends Client> = Disposable & { client: T };

/** Whoever made it disposes it, when nothing uses its clients any more. */
export class AwsPool implements Disposable {
  readonly #shared = new Map<string, Shared<Client>>();
  /** the key of the client in use now, by what it is for: one of credentials that were replaced ends with its last user */
  readonly #current = new Map<string, string>();

  /** References to secrets are read anew each time; as long as they say the same, it is the same client. Rejects as they do. */
  async s3(options: S3DestinationConfig, signal: AbortSignal): Promise<Lent<S3Client>> {
    const { region, endpoint, forcePathStyle } = options;
    const place = `s3 ${JSON.stringify([region, endpoint, forcePathStyle, sourceOf(options)])}`;
    return await this.#lend(place, options, () => openS3Client(options, NEVER), signal);
  }

  /** As {@link s3}. */
  async kms(key: KmsKeyConfig, signal: AbortSignal): Promise<Lent<KMSClient>> {
    const place = `kms ${JSON.stringify([key.region, key.endpoint, sourceOf(key)])}`;
    return await this.#lend(place, key, () => openKmsClient(key, NEVER), signal);
  }

  /** For a config that has changed: every client ends with its last user, and whoever asks gets a new one. */
  retire(): void {
    const keys = [...this.#current.values()];
    this.#current.clear();
    for (const key of keys) this.#endIfIdle(key);
  }

  [Symbol.dispose](): void {
    for (const { client } of this.#shared.values()) destroy(client);
    this.#shared.clear();
    this.#current.clear();
  }

  async #lend<T extends Client>(
    place: string,
    { ca, credentials }: Pick<KmsKeyConfig, 'ca' | 'credentials'>,
    open: () => Promise<T>,
    signal: AbortSignal,
  ): Promise<Lent<T>> {
    const secrets = JSON.stringify([await ca?.resolve(signal), await readCredentials(credentials, signal)]);
    // Of the secrets no more is kept than what tells that they are others now.
    const key = `${place} ${createHash('sha256').update(secrets).digest('hex')}`;
    let shared = this.#shared.get(key) as Shared<T> | undefined;
    if (shared === undefined) {
      shared = { client: open(), users: 0, place };
      this.#shared.set(key, shared);
    }
    this.#supersede(place, key);
    shared.users += 1;
    let isBack = false;
    const giveBack = (): void => {
      if (isBack) return;
      isBack = true;
      this.#giveBack(key);
    };
    try {
      return { client: await shared.client, [Symbol.dispose]: giveBack };
    } catch (e) {
      // Nobody gets the failure of another time.
      if (this.#shared.get(key) === shared) this.#shared.delete(key);
      throw e;
    }
  }

  #supersede(place: string, key: string): void {
    const before = this.#current.get(place);
    this.#current.set(place, key);
    if (before !== undefined && before !== key) this.#endIfIdle(before);
  }

  #giveBack(key: string): void {
    const shared = this.#shared.get(key);
    if (shared === undefined) return;
    shared.users -= 1;
    if (this.#current.get(shared.place) !== key) this.#endIfIdle(key);
  }

  #endIfIdle(key: string): void {
    const shared = this.#shared.get(key);
    if (shared === undefined || shared.users > 0) return;
    this.#shared.delete(key);
    destroy(shared.client);
  }
}

/** As the config names them: two destinations with logins of their own never take turns in one place. */
function sourceOf({ ca, credentials }: Pick<KmsKeyConfig, 'ca' | 'credentials'>): unknown {
  const { accessKeyId, secretAccessKey, sessionToken } = credentials ?? {};
  return [ca?.source, accessKeyId?.source, secretAccessKey?.source, sessionToken?.source];
}

function destroy(client: Promise<Client>): void {
  client.then(
    (opened) => opened.destroy(),
    () => undefined,
  );
}
