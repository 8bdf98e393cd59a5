/**
 * What a seal made: SHA256SUMS.sealed and the root key in core/hsm/barrier-unseal-keys. Nothing is opened; only the
 * clear parts are read. go-kms-wrapping `BlobInfo`, or Vault's form for several seals at once.
 */
import { type Field, readFields } from './varint.ts';

/** Vault writes this, a 4-byte big-endian length, and `MultiWrapValue{1 generation, 2 slots}` when it has two seals or more. */
const MULTI_HEADER = Buffer.from('multiwrapvalue:1', 'latin1');

/**
 * Nonce (12) and tag (16) of AES-GCM: what a Shamir seal needs at the least. Given less on the endpoint without force,
 * Vault 1.21 panics and the process ends.
 */
const MIN_CIPHERTEXT = 28;

export type SealedBlob = {
  /** of every seal that wrapped it, in clear: a full ARN for awskms, empty for Shamir */
  keyIds: string[];
  /** every slot is long enough to be one */
  isUsable: boolean;
};

/** Null when the bytes are no such message. */
export function readSealedBlob(bytes: Buffer): SealedBlob | null {
  const slots = bytes.subarray(0, MULTI_HEADER.length).equals(MULTI_HEADER) ? readSlots(bytes) : [bytes];
  if (slots === null || slots.length === 0) return null;
  const blobs = slots.map(readBlob);
  const keyIds = new Set<string>();
  for (const blob of blobs) {
    if (blob === null) return null;
    if (blob.keyId !== '') keyIds.add(blob.keyId);
  }
  return {
    keyIds: [...keyIds],
    isUsable: blobs.every((blob) => blob !== null && blob.ciphertextBytes >= MIN_CIPHERTEXT),
  };
}

function readSlots(bytes: Buffer): Buffer[] | null {
  const start = MULTI_HEADER.length + 4;
  if (bytes.length < start || bytes.readUInt32BE(MULTI_HEADER.length) !== bytes.length - start) return null;
  const fields = readFields(bytes.subarray(start));
  return fields?.flatMap((field) => (field.number === 2 && field.wire === 2 ? [field.bytes] : [])) ?? null;
}

function readBlob(bytes: Buffer): { ciphertextBytes: number; keyId: string } | null {
  const fields = readFields(bytes);
  if (fields === null || fields.length === 0) return null;
  // 1 ciphertext, 2 iv, 3 hmac, 4 wrapped, 5 key info {3 key id}, 6 value path, 7 plaintext, 8 client data
  if (fields.some((field) => field.number > 8)) return null;
  const info = bytesOf(fields, 5);
  const keyInfo = info === undefined ? [] : readFields(info);
  if (keyInfo === null) return null;
  return { ciphertextBytes: bytesOf(fields, 1)?.length ?? 0, keyId: bytesOf(keyInfo, 3)?.toString('utf8') ?? '' };
}

function bytesOf(fields: Field[], number: number): Buffer | undefined {
  const field = fields.find((candidate) => candidate.number === number);
  return field?.wire === 2 ? field.bytes : undefined;
}
