/** One AWS KMS key that wraps the identities of snapshots. */
import {
  DecryptCommand,
  DescribeKeyCommand,
  EncryptCommand,
  type KeyMetadata,
  type KMSClient,
  ReEncryptCommand,
} from '@aws-sdk/client-kms';
import { isError, StrongroomError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import { isReplica, parseKeyArn } from './kms-arn.ts';
import { KMS_DEADLINE_MS, kmsCall } from './kms-call.ts';
import { type KmsCall, message } from './kms-errors.ts';
import { recipientOf } from './recipients.ts';

/** What a wrap is bound to: KMS opens it only when told the same again. Visible in CloudTrail. */
export type WrapContext = { readonly cluster: string; readonly snapshot: string };

export type KmsWrap = {
  type: 'aws-kms';
  region: string;
  /** full key ARN */
  keyId: string;
  /** base64; the plaintext is the identity and a newline, so that it can be piped into `age -i -` */
  ciphertext: string;
};

/** `unchecked` = the role may not call DescribeKey. `cautions` are sentences for people. */
export type KmsKeyCheck = { state: 'enabled' | 'unchecked'; cautions: string[] };

export type KmsKeyFacts = {
  /** in the words of AWS: Enabled, Disabled, PendingDeletion, … */
  state: string;
  /** null = no deletion is pending */
  deletionAt: Date | null;
};

const USABLE = new Set(['Enabled', 'Updating']);
const TRANSIENT = new Set(['Creating', 'Unavailable']);

/**
 * Every method rejects with the abort reason, E_KEY_UNAVAILABLE (throttled, 5xx, network, deadline: retryable; credentials:
 * not), E_KEY_REFUSED (disabled, pending deletion, denied, no such key) or E_DECRYPT (wrong key, context or bytes).
 */
export class KmsKey {
  readonly keyId: string;
  readonly region: string;
  readonly #client: KMSClient;
  readonly #deadlineMs: number;

  /** `keyId` is a full key ARN of `region`, else E_CONFIG_INVALID. The client stays the caller's, who destroys it. */
  constructor(options: { client: KMSClient; keyId: string; region: string; deadlineMs?: number }) {
    const { region } = parseKeyArn(options.keyId);
    if (region !== options.region) {
      throw new StrongroomError('E_CONFIG_INVALID', `${options.keyId} is not a key of ${options.region}`, {
        hint: `set the region of this key to ${region}`,
      });
    }
    this.keyId = options.keyId;
    this.region = region;
    this.#client = options.client;
    this.#deadlineMs = options.deadlineMs ?? KMS_DEADLINE_MS;
  }

  /** Proves by DescribeKey that the key can wrap. E_KEY_REFUSED when it cannot, naming the date of a pending deletion. */
  async check(signal: AbortSignal): Promise<KmsKeyCheck> {
    let metadata: KeyMetadata;
    try {
      metadata = await this.#describe(this.keyId, signal);
    } catch (e) {
      if (!isDenied(e)) throw e;
      return {
        state: 'unchecked',
        cautions: [`${this.keyId} was not checked: this role may not call kms:DescribeKey`],
      };
    }
    this.#refuseUnusable(metadata);
    const until = metadata.ExpirationModel === 'KEY_MATERIAL_EXPIRES' ? metadata.ValidTo : undefined;
    return {
      state: 'enabled',
      cautions: until === undefined ? [] : [`the imported material of ${this.keyId} expires on ${until.toISOString()}`],
    };
  }

  /** What KMS says of the key, whatever its state; null when the role may not ask. Rejects as the other methods do. */
  async describe(signal: AbortSignal): Promise<KmsKeyFacts | null> {
    try {
      const { KeyState, Enabled, DeletionDate } = await this.#describe(this.keyId, signal);
      return {
        state: KeyState ?? (Enabled === true ? 'Enabled' : 'Disabled'),
        deletionAt: DeletionDate ?? null,
      };
    } catch (e) {
      if (!isDenied(e)) throw e;
      return null;
    }
  }

  /** The full ARN behind an alias or id as this key's region sees it; null when there is none, or it may not be asked. */
  async resolve(keyId: string, signal: AbortSignal): Promise<string | null> {
    try {
      return (await this.#describe(keyId, signal)).Arn ?? null;
    } catch (e) {
      if (isError(e, 'E_KEY_REFUSED')) return null;
      throw e;
    }
  }

  /** Wraps `identity` bound to `context`. Needs kms:Encrypt alone: whoever wraps cannot open. */
  async wrap(identity: Secret<string>, context: WrapContext, signal: AbortSignal): Promise<KmsWrap> {
    const plaintext = Buffer.from(`${identity.reveal()}\n`);
    const call = this.#call('kms:Encrypt');
    try {
      const answer = await kmsCall(call, signal, this.#deadlineMs, (options) =>
        this.#client.send(
          new EncryptCommand({ KeyId: this.keyId, Plaintext: plaintext, EncryptionContext: { ...context } }),
          options,
        ),
      );
      return this.#toWrap(answer.CiphertextBlob, answer.KeyId, call);
    } finally {
      plaintext.fill(0);
    }
  }

  /** True for wraps that this key opens: its own, and those of the other replicas of a multi-region key. */
  opens(wrap: KmsWrap): boolean {
    return wrap.keyId === this.keyId || isReplica(wrap.keyId, this.keyId);
  }

  /** The identity in `wrap`. E_DECRYPT as well when what opens is no identity. */
  async unwrap(wrap: KmsWrap, context: WrapContext, signal: AbortSignal): Promise<Secret<string>> {
    const call = this.#call('kms:Decrypt');
    const answer = await kmsCall(call, signal, this.#deadlineMs, (options) =>
      this.#client.send(
        new DecryptCommand({
          KeyId: this.keyId,
          CiphertextBlob: Buffer.from(wrap.ciphertext, 'base64'),
          EncryptionContext: { ...context },
        }),
        options,
      ),
    );
    const identity = new Secret(
      Buffer.from(answer.Plaintext ?? [])
        .toString('utf8')
        .trimEnd(),
    );
    answer.Plaintext?.fill(0);
    try {
      await recipientOf(identity);
    } catch {
      throw new StrongroomError('E_DECRYPT', message(call, 'the wrap opens, and holds no age identity'));
    }
    return identity;
  }

  /**
   * Turns `wrap` (of this key, or of another in this region) into one of this key, inside KMS: the identity does not leave
   * it. Needs kms:ReEncryptFrom on the old key and kms:ReEncryptTo on this one. `context` stays the same.
   */
  async rewrap(wrap: KmsWrap, context: WrapContext, signal: AbortSignal): Promise<KmsWrap> {
    const call = this.#call('kms:ReEncrypt');
    const answer = await kmsCall(call, signal, this.#deadlineMs, (options) =>
      this.#client.send(
        new ReEncryptCommand({
          CiphertextBlob: Buffer.from(wrap.ciphertext, 'base64'),
          SourceKeyId: this.opens(wrap) ? this.keyId : wrap.keyId,
          SourceEncryptionContext: { ...context },
          DestinationKeyId: this.keyId,
          DestinationEncryptionContext: { ...context },
        }),
        options,
      ),
    );
    return this.#toWrap(answer.CiphertextBlob, answer.KeyId, call);
  }

  async #describe(keyId: string, signal: AbortSignal): Promise<KeyMetadata> {
    const call = { ...this.#call('kms:DescribeKey'), keyId };
    const answer = await kmsCall(call, signal, this.#deadlineMs, (options) =>
      this.#client.send(new DescribeKeyCommand({ KeyId: keyId }), options),
    );
    if (answer.KeyMetadata === undefined) {
      throw new StrongroomError('E_KEY_UNAVAILABLE', message(call, 'the answer has no metadata'));
    }
    return answer.KeyMetadata;
  }

  #refuseUnusable(metadata: KeyMetadata): void {
    const refuse = (says: string, hint: string): never => {
      throw new StrongroomError('E_KEY_REFUSED', `${this.keyId} in ${this.region} ${says}`, {
        hint,
        details: { keyId: this.keyId, region: this.region, keyState: metadata.KeyState ?? null },
      });
    };
    const state = metadata.KeyState ?? (metadata.Enabled === true ? 'Enabled' : 'Disabled');
    if (state === 'PendingDeletion' || state === 'PendingReplicaDeletion') {
      const date = metadata.DeletionDate?.toISOString();
      refuse(
        date === undefined ? `is waiting for its deletion (${state})` : `will be deleted on ${date}`,
        'every snapshot wrapped by it needs it: aws kms cancel-key-deletion, then enable-key, or rewrap to another key first',
      );
    }
    if (TRANSIENT.has(state)) {
      throw new StrongroomError('E_KEY_UNAVAILABLE', `${this.keyId} in ${this.region} is not available at the moment`, {
        hint: 'its key store is not connected, or it is being created: aws kms describe-key',
        details: { keyId: this.keyId, region: this.region, keyState: state },
      });
    }
    if (state === 'PendingImport') refuse('has no key material (PendingImport)', 'import its material again');
    if (!USABLE.has(state)) refuse(`cannot be used: its state is ${state}`, 'aws kms enable-key, or another key');
    if (metadata.KeyUsage !== undefined && metadata.KeyUsage !== 'ENCRYPT_DECRYPT') {
      refuse(`is for ${metadata.KeyUsage}, not for ENCRYPT_DECRYPT`, 'create a symmetric encryption key');
    }
    if (metadata.KeySpec !== undefined && metadata.KeySpec !== 'SYMMETRIC_DEFAULT') {
      refuse(`is a ${metadata.KeySpec} key, which knows no encryption context`, 'create a SYMMETRIC_DEFAULT key');
    }
  }

  #toWrap(ciphertext: Uint8Array | undefined, keyId: string | undefined, call: KmsCall): KmsWrap {
    if (ciphertext === undefined || ciphertext.byteLength === 0 || keyId !== this.keyId) {
      throw new StrongroomError(
        'E_KEY_UNAVAILABLE',
        message(call, `the answer is not a wrap by this key (${keyId ?? 'no key named'})`),
        { retryable: false },
      );
    }
    return {
      type: 'aws-kms',
      region: this.region,
      keyId: this.keyId,
      ciphertext: Buffer.from(ciphertext).toString('base64'),
    };
  }

  #call(operation: string): KmsCall {
    return { operation, keyId: this.keyId, region: this.region };
  }
}

function isDenied(e: unknown): boolean {
  return isError(e, 'E_KEY_REFUSED') && String(e.details['awsError']).startsWith('AccessDenied');
}
