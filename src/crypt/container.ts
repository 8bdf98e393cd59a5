/** The encrypted snapshot: an age v1 file that the `age` program opens too. Header by the library, payload in payload.ts. */
import { StrongroomError } from '../core/errors.ts';
import type { Bytes, Stage } from '../core/flow.ts';
import type { Secret } from '../core/secret.ts';
import { HeaderReader, headerHash, newHeader, type OpenHeader, openWith } from './header.ts';
import { encryptPayload, PayloadDecrypter, payloadBytes } from './payload.ts';
import { commonKind, newIdentity } from './recipients.ts';

/** The name of this format in a manifest. */
export const format = 'age-v1';

/** One snapshot's encryption, before the first byte. Drop it after the upload: it holds the file key. */
export type Container = {
  /** the age header up to and with the newline behind its MAC */
  readonly header: Uint8Array;
  /** hex; goes into the signed manifest, and so binds the data object to it */
  readonly headerSha256: string;
  /** made for this snapshot alone; what the KMS keys wrap */
  readonly identity: Secret<string>;
  /** the public half of {@link Container.identity} */
  readonly recipient: string;
  /** plaintext in; header and payload out. Each use draws its own payload nonce, so a second use is safe, and different. */
  readonly encrypt: Stage;
  /** bytes that come out of {@link Container.encrypt} for that many bytes of plaintext */
  ciphertextBytes(plainBytes: number): number;
};

/**
 * A container that its own fresh identity and every one of `breakGlass` opens. The fresh identity is post-quantum when the
 * break-glass recipients are. Throws E_CONFIG_INVALID for a recipient that is none, is listed twice, or for a mixture of kinds.
 */
export async function newContainer(breakGlass: readonly string[]): Promise<Container> {
  const { identity, recipient } = await newIdentity(commonKind(breakGlass));
  const { header, fileKey } = await newHeader([recipient, ...breakGlass]);
  const payload = encryptPayload(fileKey);
  return {
    header,
    headerSha256: headerHash(header),
    identity,
    recipient,
    encrypt: async function* encrypted(source) {
      yield header;
      yield* payload(source);
    },
    ciphertextBytes: (plainBytes) => header.byteLength + payloadBytes(plainBytes),
  };
}

/**
 * Decrypts with the first identity that fits: the snapshot's own, or that of a break-glass recipient in its header.
 *
 * Order of the checks: SHA-256 of the header (`headerSha256`, hex, from the verified manifest), MAC of the header, then each
 * chunk before it is released. Every failure is E_DECRYPT; what came out before it is a correct prefix, and the stage ends
 * cleanly only when the last chunk was the last. Without `headerSha256` nothing ties the bytes to a snapshot: age has no
 * sender authentication, and whoever may write to the bucket can plant a file for a public key.
 */
export function decrypt(identities: readonly Secret<string>[], options: { headerSha256?: string } = {}): Stage {
  return decryptWith(openWith(identities), options);
}

/** {@link decrypt} with another way to the file key. */
export function decryptWith(openHeader: OpenHeader, options: { headerSha256?: string } = {}): Stage {
  return async function* decrypted(source: Bytes) {
    const reader = new HeaderReader();
    let payload: PayloadDecrypter | undefined;
    for await (const piece of source) {
      let body = piece;
      if (payload === undefined) {
        const head = reader.push(piece);
        if (head === null) continue;
        checkHeaderHash(head.header, options.headerSha256);
        payload = new PayloadDecrypter(await openHeader(head.header));
        body = head.rest;
      }
      yield* payload.push(body);
    }
    if (payload === undefined) throw reader.truncated();
    yield* payload.end();
  };
}

function checkHeaderHash(header: Uint8Array, expected: string | undefined): void {
  if (expected === undefined) return;
  const actual = headerHash(header);
  if (actual === expected.toLowerCase()) return;
  throw new StrongroomError('E_DECRYPT', 'the header is not the one that the manifest names', {
    hint: 'the data object was replaced: read another destination, or the version that the manifest names',
    details: { expected, actual },
  });
}
