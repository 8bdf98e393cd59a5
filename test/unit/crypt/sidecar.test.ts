import { describe, expect, it } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import { parseSidecar, type Sidecar, serialiseSidecar } from '../../../src/crypt/sidecar.ts';
import { wrapsFromMetadata, wrapsToMetadata } from '../../../src/crypt/wrap-metadata.ts';
import { CONTEXT, OTHER } from './kms-world.ts';

const arn = (n: number): string =>
  `arn:aws:kms:eu-central-1:111122223333:key/${String(n).padStart(8, '0')}-0000-4000-8000-000000000000`;
const kmsWrap = (n: number, length = 150): Sidecar['wraps'][number] => ({
  type: 'aws-kms',
  region: 'eu-central-1',
  keyId: arn(n),
  ciphertext: Buffer.alloc(length, n).toString('base64'),
});

const good: Sidecar = {
  v: 1,
  ...CONTEXT,
  encryptionContext: CONTEXT,
  wraps: [
    kmsWrap(1),
    {
      type: 'age',
      recipient: 'age1abc',
      ciphertext: '-----BEGIN AGE ENCRYPTED FILE-----\nAAAA\n-----END AGE ENCRYPTED FILE-----\n',
    },
    kmsWrap(2),
  ],
  missing: [{ type: 'aws-kms', keyId: arn(3), code: 'E_KEY_UNAVAILABLE' }],
  revision: 3,
  createdAt: '2026-11-22T01:30:00.000Z',
  rewrappedAt: '2026-11-23T01:30:00.000Z',
};

function refusal(value: unknown, expected = CONTEXT): string {
  try {
    parseSidecar(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)), expected);
  } catch (e) {
    if (e instanceof StrongroomError && e.code === 'E_MANIFEST') return e.message;
    throw e;
  }
  throw new Error('nothing was refused');
}

describe('keys.json', () => {
  it('survives writing and reading', () => {
    const bytes = serialiseSidecar(good);
    expect(Buffer.from(bytes).at(-1)).toBe(0x0a);
    expect(parseSidecar(bytes, CONTEXT)).toEqual(good);
  });

  it('is refused for another snapshot or cluster, wherever that is named', () => {
    expect(refusal(good, OTHER)).toBe(
      `the key sidecar of ${OTHER.cluster} ${OTHER.snapshot} belongs to ${CONTEXT.cluster} ${CONTEXT.snapshot}`,
    );
    expect(refusal(good, { ...CONTEXT, cluster: 'stage' })).toMatch(/belongs to prod-eu-1/);
    expect(refusal({ ...good, encryptionContext: OTHER })).toMatch(/belongs to/);
    for (const snapshot of ['\u009b2J', 'x'.repeat(100_000)]) {
      expect(refusal({ ...good, snapshot })).toMatch(/ belongs to prod-eu-1 another$/);
    }
    expect(refusal({ ...good, snapshot: OTHER.snapshot })).toMatch(/belongs to/);
    expect(refusal({ ...good, cluster: 'stage' })).toMatch(/belongs to stage/);
    expect(refusal({ ...good, encryptionContext: { ...CONTEXT, cluster: 'stage' } })).toMatch(/belongs to stage/);
  });

  it.each([
    ['no JSON', 'not json'],
    ['an array', []],
    ['a newer version', { ...good, v: 2 }],
    ['an unknown field', { ...good, extra: 1 }],
    ['an unknown kind of wrap', { ...good, wraps: [{ type: 'gcp-kms', ciphertext: 'AAAA' }] }],
    ['an unknown field of a wrap', { ...good, wraps: [{ ...kmsWrap(1), extra: 1 }] }],
    ['no wraps', { ...good, wraps: [] }],
    ['an alias for a key', { ...good, wraps: [{ ...kmsWrap(1), keyId: 'alias/x' }] }],
    ['no base64', { ...good, wraps: [{ ...kmsWrap(1), ciphertext: '***' }] }],
    ['no armor', { ...good, wraps: [{ type: 'age', recipient: 'age1abc', ciphertext: 'AAAA' }] }],
    ['revision 0', { ...good, revision: 0 }],
    ['no date', { ...good, createdAt: 'yesterday' }],
  ])('refuses %s', (_name, value) => {
    expect(refusal(value)).toMatch(/^the key sidecar of prod-eu-1 01KAM8DB5G0000000000000000 is not/);
  });

  it('refuses bytes that are no text', () => {
    const bytes = Buffer.from(serialiseSidecar(good));
    bytes[bytes.indexOf('missing') - 20] = 0xff;
    expect(() => parseSidecar(bytes, CONTEXT)).toThrow(/is not JSON/);
  });

  it('does not read without bound', () => {
    expect(refusal(' '.repeat(4 * 1024 * 1024 + 1))).toMatch(/is longer than/);
  });
});

describe('wraps in object metadata', () => {
  it('are the KMS wraps, in order, and come back', () => {
    const metadata = wrapsToMetadata(good);
    expect(Object.keys(metadata)).toEqual(['kms-wrap-1', 'kms-wrap-2']);
    expect(wrapsFromMetadata({ ...metadata, other: 'x' })).toEqual([kmsWrap(1), kmsWrap(2)]);
  });

  it('stay below 2 KB, leaving out what does not fit', () => {
    const wraps = [...Array.from({ length: 9 }, (_, n) => kmsWrap(n + 1)), kmsWrap(20, 2_000), kmsWrap(21, 20)];
    const metadata = wrapsToMetadata({ wraps });
    const bytes = Object.entries(metadata).reduce(
      (sum, [k, v]) => sum + Buffer.byteLength(k) + Buffer.byteLength(v),
      0,
    );
    expect(bytes).toBeLessThan(2_048);
    expect(wrapsFromMetadata(metadata).map((w) => w.keyId)).toEqual([arn(1), arn(2), arn(3), arn(4), arn(5), arn(21)]);
  });

  it('are sorted by number, whatever the case and order of the names, and what is malformed is passed over', () => {
    const [one, two] = [`${arn(1)} AAAA`, `${arn(2)} BBBB`];
    const found = wrapsFromMetadata({
      'Kms-Wrap-10': two,
      'kms-wrap-2': one,
      'kms-wrap-3': 'nonsense',
      'kms-wrap-x': one,
    });
    expect(found.map((w) => w.ciphertext)).toEqual(['AAAA', 'BBBB']);
    expect(wrapsFromMetadata({})).toEqual([]);
  });
});
