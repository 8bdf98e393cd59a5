import { createHash, randomBytes } from 'node:crypto';
import { Decrypter, Encrypter } from 'age-encryption';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isError, StrongroomError } from '../../../src/core/errors.ts';
import { discard } from '../../../src/core/flow.ts';
import { Secret } from '../../../src/core/secret.ts';
import { type Container, decrypt, format, newContainer } from '../../../src/crypt/container.ts';
import { newIdentity } from '../../../src/crypt/recipients.ts';
import { pieces, released } from './bytes.ts';

const CHUNK = 65_536;
const SEALED = CHUNK + 16;

async function encrypted(container: Container, plain: Uint8Array, size = CHUNK): Promise<Buffer> {
  const { bytes, error } = await released(container.encrypt(pieces(plain, size)));
  if (error !== undefined) throw error;
  return bytes;
}

function message(error: unknown): string {
  expect(isError(error, 'E_DECRYPT')).toBe(true);
  return error instanceof StrongroomError ? error.message : '';
}

describe('a container', () => {
  it('is called age-v1', () => expect(format).toBe('age-v1'));

  it('gives header and payload of the announced size, and its own identity opens it', async () => {
    const container = await newContainer([]);
    for (const size of [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7]) {
      const plain = randomBytes(size);
      const cipher = await encrypted(container, plain);
      expect(cipher.byteLength).toBe(container.ciphertextBytes(size));
      expect(cipher.subarray(0, container.header.byteLength)).toEqual(Buffer.from(container.header));
      const { bytes, error } = await released(decrypt([container.identity])(pieces(cipher, 1000)));
      expect(error).toBeUndefined();
      expect(bytes.equals(plain)).toBe(true);
    }
  });

  it('round-trips any content in any pieces, also when the source reuses its buffer', async () => {
    const container = await newContainer([]);
    const around = fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: -20, max: 20 }));
    const size = around.map(([chunks, off]) => Math.max(0, chunks * CHUNK + off));
    const piece = fc.oneof(fc.constantFrom(CHUNK, SEALED, 2 * CHUNK + 1), fc.integer({ min: 700, max: 200_000 }));
    await fc.assert(
      fc.asyncProperty(size, piece, piece, fc.boolean(), async (bytes, inSize, outSize, reuse) => {
        const plain = randomBytes(bytes);
        const cipher = await released(container.encrypt(pieces(plain, inSize, reuse)));
        expect(cipher.bytes.byteLength).toBe(container.ciphertextBytes(bytes));
        const back = await released(decrypt([container.identity])(pieces(cipher.bytes, outSize, reuse)));
        expect(back.error).toBeUndefined();
        expect(back.bytes.equals(plain)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it('passes a byte at a time', async () => {
    const container = await newContainer([]);
    const plain = randomBytes(CHUNK + 3);
    const cipher = await released(container.encrypt(pieces(plain, 1)));
    const back = await released(decrypt([container.identity])(pieces(cipher.bytes, 1)));
    expect(back.bytes.equals(plain)).toBe(true);
  });

  it('is read by the library whole, and reads what the library wrote', async () => {
    const glass = await newIdentity('classic');
    const container = await newContainer([glass.recipient]);
    const plain = randomBytes(2 * CHUNK + 5);
    const decrypter = new Decrypter();
    decrypter.addIdentity(glass.identity.reveal());
    const cipher = Uint8Array.from(await encrypted(container, plain));
    expect(Buffer.from(await decrypter.decrypt(cipher)).equals(plain)).toBe(true);
    const encrypter = new Encrypter();
    encrypter.addRecipient(glass.recipient);
    const theirs = await encrypter.encrypt(Uint8Array.from(plain));
    const back = await released(decrypt([glass.identity])(pieces(theirs, CHUNK)));
    expect(back.bytes.equals(plain)).toBe(true);
  });

  it('opens with every break-glass identity, classic or post-quantum, among foreign ones', async () => {
    for (const kind of ['classic', 'post-quantum'] as const) {
      const [a, b, foreign] = [await newIdentity(kind), await newIdentity(kind), await newIdentity('classic')];
      const container = await newContainer([a.recipient, b.recipient]);
      expect(container.recipient.startsWith('age1pq1')).toBe(kind === 'post-quantum');
      const cipher = await encrypted(container, Buffer.from('a secret'));
      for (const identity of [container.identity, a.identity, b.identity]) {
        const { bytes } = await released(decrypt([foreign.identity, identity])(pieces(cipher, 100)));
        expect(bytes.toString()).toBe('a secret');
      }
    }
  });

  it('draws a new identity, file key and nonce each time', async () => {
    const [a, b] = [await newContainer([]), await newContainer([])];
    expect(a.recipient).not.toBe(b.recipient);
    const [first, second] = [await encrypted(a, Buffer.alloc(100)), await encrypted(a, Buffer.alloc(100))];
    expect(first.equals(second)).toBe(false);
    const { error } = await released(decrypt([b.identity])(pieces(first, 100)));
    expect(message(error)).toBe('none of the 1 identities opens it');
  });

  it('refuses mixed kinds, doubles and what is no recipient', async () => {
    const [classic, pq] = [await newIdentity('classic'), await newIdentity('post-quantum')];
    const bad = [
      [classic.recipient, pq.recipient],
      [classic.recipient, classic.recipient],
      [`${classic.recipient.slice(0, -1)}${classic.recipient.endsWith('q') ? 'p' : 'q'}`],
      ['age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t'],
      ['ssh-ed25519 AAAA'],
      [''],
    ];
    for (const recipients of bad) {
      await expect(newContainer(recipients)).rejects.toMatchObject({ code: 'E_CONFIG_INVALID' });
    }
  });

  it('ends its source when its reader stops early', async () => {
    const container = await newContainer([]);
    let ended = false;
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield randomBytes(CHUNK);
      } finally {
        ended = true;
      }
    }
    let seen = 0;
    for await (const chunk of decrypt([container.identity])(container.encrypt(endless()))) {
      seen += chunk.byteLength;
      if (seen > 5 * CHUNK) break;
    }
    expect(ended).toBe(true);
  });
});

describe('the tamper table', async () => {
  const container = await newContainer([]);
  const other = await newContainer([]);
  const plain = randomBytes(4 * CHUNK + 1234);
  const cipher = await encrypted(container, plain);
  const foreign = await encrypted(other, plain);
  const head = container.header.byteLength;
  const start = head + 16;
  const chunk = (n: number, of = cipher): Buffer => of.subarray(start + n * SEALED, start + (n + 1) * SEALED);
  const flip = (at: number): Buffer => {
    const copy = Buffer.from(cipher);
    copy[at] = (copy[at] ?? 0) ^ 1;
    return copy;
  };
  const payload = (...parts: Buffer[]): Buffer => Buffer.concat([cipher.subarray(0, start), ...parts]);
  const exact = await encrypted(container, plain.subarray(0, 2 * CHUNK));

  const cases: [string, Buffer, RegExp, number][] = [
    ['flip in chunk 1', flip(start + 5), /^chunk 1 is altered, or the payload belongs to another header$/, 0],
    ['flip in chunk 3', flip(start + 2 * SEALED + 9), /^chunk 3 is altered$/, 2],
    ['flip in the tag of chunk 2', flip(start + 2 * SEALED - 1), /^chunk 2 is altered$/, 1],
    ['flip in the last chunk', flip(cipher.byteLength - 1), /altered in its last chunk \(5\), or truncated/, 4],
    ['flip in the payload nonce', flip(head + 3), /^chunk 1 is altered/, 0],
    [
      'truncated at a chunk boundary',
      cipher.subarray(0, start + 3 * SEALED),
      /truncated: chunk 3 is not the last one/,
      3,
    ],
    [
      'truncated inside a chunk',
      cipher.subarray(0, start + 3 * SEALED + 500),
      /last chunk \(4\), or truncated inside/,
      3,
    ],
    [
      'truncated to less than a tag',
      cipher.subarray(0, start + 3 * SEALED + 9),
      /truncated: it ends inside chunk 4/,
      3,
    ],
    ['truncated behind the header', cipher.subarray(0, head), /truncated: it ends before its first chunk/, 0],
    ['truncated inside the nonce', cipher.subarray(0, head + 4), /truncated: it ends before its first chunk/, 0],
    ['truncated behind the nonce', cipher.subarray(0, start), /truncated: it ends before its first chunk/, 0],
    ['truncated inside the header', cipher.subarray(0, 60), /truncated: it ends inside its header/, 0],
    ['nothing at all', Buffer.alloc(0), /truncated: it ends inside its header/, 0],
    ['two chunks swapped', payload(chunk(0), chunk(2), chunk(1), chunk(3), chunk(4)), /in place 2 stands chunk 3/, 1],
    ['a chunk dropped', payload(chunk(0), chunk(2), chunk(3), chunk(4)), /in place 2 stands chunk 3/, 1],
    ['a chunk repeated', payload(chunk(0), chunk(0), chunk(1)), /in place 2 stands chunk 1/, 1],
    ['one byte appended', Buffer.concat([cipher, Buffer.from('x')]), /last chunk \(5\)/, 4],
    [
      'bytes behind a full last chunk',
      Buffer.concat([exact, Buffer.from('x')]),
      /data is appended after the last chunk \(2\)/,
      2,
    ],
    ['a second file appended', Buffer.concat([exact, cipher]), /data is appended after the last chunk \(2\)/, 2],
    ['a header byte', flip(30), /none of the 1 identities opens it|header (?:was altered|is malformed)/, 0],
    ['a byte of the header MAC', flip(head - 10), /header (?:was altered|is malformed)/, 0],
    ['the magic', flip(3), /not an age v1 file: it does not begin with/, 0],
    ['no age file', Buffer.from('{"an":"error page"}\n'.repeat(50)), /not an age v1 file/, 0],
    [
      'own header, payload of another',
      Buffer.concat([cipher.subarray(0, head), foreign.subarray(other.header.byteLength)]),
      /payload belongs to another header/,
      0,
    ],
    ['the whole of another', foreign, /none of the 1 identities opens it/, 0],
  ];

  it.each(cases)('%s is refused, and what came out is a correct prefix', async (_name, bytes, says, chunks) => {
    for (const size of [bytes.byteLength + 1, CHUNK, 4099]) {
      const result = await released(decrypt([container.identity])(pieces(bytes, size)));
      expect(message(result.error)).toMatch(says);
      expect(result.bytes.equals(plain.subarray(0, chunks * CHUNK))).toBe(true);
    }
  });

  it('an empty last chunk after a full one is refused', async () => {
    // Made as an attacker with the key would: the payload of 64 KiB, flag of the last chunk moved to an empty second one.
    const { emptyLastChunk } = await import('./forge.ts');
    const forged = await emptyLastChunk(container, plain.subarray(0, CHUNK));
    const result = await released(decrypt([container.identity])(pieces(forged, CHUNK)));
    expect(message(result.error)).toMatch(/the last chunk \(2\) is empty/);
  });

  it('a header other than the expected one is refused before any identity is tried', async () => {
    const expected = { headerSha256: container.headerSha256 };
    expect(createHash('sha256').update(container.header).digest('hex')).toBe(container.headerSha256);
    expect((await released(decrypt([container.identity], expected)(pieces(cipher, 99)))).error).toBeUndefined();
    const refusing = decrypt([new Secret('no identity at all')], expected);
    expect(message((await released(refusing(pieces(foreign, 99)))).error)).toMatch(
      /header is not the one that the manifest/,
    );
    // The same break-glass recipients, another snapshot: opens without the hash, and not with it.
    const glass = await newIdentity('classic');
    const [old, young] = [await newContainer([glass.recipient]), await newContainer([glass.recipient])];
    const replay = await encrypted(old, plain);
    expect((await released(decrypt([glass.identity])(pieces(replay, CHUNK)))).error).toBeUndefined();
    const bound = decrypt([glass.identity], { headerSha256: young.headerSha256 });
    const result = await released(bound(pieces(replay, CHUNK)));
    expect(message(result.error)).toMatch(/header is not the one/);
    expect(result.bytes.byteLength).toBe(0);
  });

  it('every single bit of header, nonce and a small payload counts', async () => {
    const small = await encrypted(container, Buffer.from('short'));
    for (let at = 0; at < small.byteLength; at += 1) {
      const copy = Buffer.from(small);
      copy[at] = (copy[at] ?? 0) ^ (1 << (at % 8));
      const result = await released(decrypt([container.identity])(pieces(copy, 64)));
      expect(isError(result.error, 'E_DECRYPT'), `byte ${at}`).toBe(true);
      expect(result.bytes.byteLength).toBe(0);
    }
  });

  it('every truncation of a small file is refused', async () => {
    const small = await encrypted(container, Buffer.from('short'));
    for (let length = 0; length < small.byteLength; length += 1) {
      const result = await released(decrypt([container.identity])(pieces(small.subarray(0, length), 7)));
      expect(isError(result.error, 'E_DECRYPT'), `length ${length}`).toBe(true);
      expect(result.bytes.byteLength).toBe(0);
    }
  });
});

describe('decrypt', () => {
  it('names an identity that is none by its place, and none of its text', async () => {
    const container = await newContainer([]);
    const good = container.identity.reveal();
    const typo = new Secret(`${good.slice(0, -1)}${good.endsWith('Q') ? 'P' : 'Q'}`);
    const cipher = await encrypted(container, Buffer.from('x'));
    const { error } = await released(decrypt([container.identity, typo])(pieces(cipher, 50)));
    expect(error).toMatchObject({ code: 'E_CONFIG_INVALID', message: 'identity 2 of 2 is not an age identity' });
  });

  it('does not buffer a header without end', async () => {
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('age-encryption.org/v1\n');
      for (;;) yield Buffer.alloc(CHUNK, 'A');
    }
    await expect(discard(decrypt([])(endless()))).rejects.toMatchObject({ code: 'E_DECRYPT' });
  });
});
