/** The 143 public vectors of the age format (C2SP CCTV) through the header of the library and the payload code of ours. */
import { createHash } from 'node:crypto';
import { inflateSync } from 'node:zlib';
import { armor, Decrypter } from 'age-encryption';
import * as vectors from 'cctv-age';
import { describe, expect, it } from 'vitest';
import { isError } from '../../../src/core/errors.ts';
import type { Stage } from '../../../src/core/flow.ts';
import { Secret } from '../../../src/core/secret.ts';
import { decrypt, decryptWith } from '../../../src/crypt/container.ts';
import { pieces, released } from './bytes.ts';

type Vector = { name: string; fields: Map<string, string[]>; file: Uint8Array };

const EXPECTATIONS = ['success', 'no match', 'HMAC failure', 'header failure', 'payload failure', 'armor failure'];
const all = Object.entries(vectors)
  .filter(([name]) => name !== 'default' && name !== 'module.exports')
  .map(([name, bytes]) => parseVector(name, bytes));
/** What our own error says for each kind of failure. */
const SAYS: Readonly<Record<string, RegExp>> = {
  'no match': /^none of the \d+ identities opens it$/,
  'HMAC failure': /^the header was altered/,
  'header failure':
    /^the header (?:is malformed|was altered)|is not an age v1 file|ends inside its header|ends before its first chunk/,
  'payload failure': /chunk|truncated/,
};
// A byte at a time through megabytes shows nothing that tens of kilobytes do not.
const BYTEWISE_LIMIT = 200_000;

describe('public age vectors', () => {
  it('are all there, of every kind', () => {
    expect(all).toHaveLength(143);
    expect([...new Set(all.map((v) => one(v, 'expect')))].toSorted()).toEqual(EXPECTATIONS.toSorted());
    expect(all.filter((v) => one(v, 'expect') === 'success')).toHaveLength(26);
  });

  it.each(all)('$name', async (vector) => {
    const expectation = one(vector, 'expect');
    const file = unarmored(vector);
    if (file === null) {
      expect(expectation).toMatch(/^(?:armor|header) failure$/);
      return;
    }
    const modes = [file.byteLength, 65_536, 1000, ...(file.byteLength < BYTEWISE_LIMIT ? [1] : [])];
    for (const size of modes) {
      const { bytes, error } = await released(stageFor(vector)(pieces(file, size)));
      if (expectation === 'success') expect(error).toBeUndefined();
      else if (vector.fields.has('passphrase')) expect(error).toBeInstanceOf(Error);
      else {
        expect(isError(error, 'E_DECRYPT')).toBe(true);
        expect(error instanceof Error ? error.message : '').toMatch(SAYS[expectation] ?? /^$/);
      }
      const payload = vector.fields.get('payload')?.[0];
      if (payload === undefined) expect(bytes.byteLength).toBe(0);
      else expect(createHash('sha256').update(bytes).digest('hex')).toBe(payload);
    }
  });
});

/** Our own way with identities; passphrases are not ours, so there the library opens the header. */
function stageFor(vector: Vector): Stage {
  const passphrases = vector.fields.get('passphrase') ?? [];
  if (passphrases.length === 0) return decrypt((vector.fields.get('identity') ?? []).map((id) => new Secret(id)));
  const decrypter = new Decrypter();
  for (const passphrase of passphrases) decrypter.addPassphrase(passphrase);
  return decryptWith((header) => decrypter.decryptHeader(header));
}

/** null = the library refuses the armor */
function unarmored(vector: Vector): Uint8Array | null {
  if (vector.fields.get('armored')?.[0] !== 'yes') return vector.file;
  try {
    return armor.decode(Buffer.from(vector.file).toString('latin1'));
  } catch {
    return null;
  }
}

function parseVector(name: string, bytes: Uint8Array): Vector {
  const all = Buffer.from(bytes);
  const end = all.indexOf('\n\n');
  const fields = new Map<string, string[]>();
  for (const line of all.subarray(0, end).toString('utf8').split('\n')) {
    const [key = '', ...rest] = line.split(': ');
    fields.set(key, [...(fields.get(key) ?? []), rest.join(': ')]);
  }
  const body = all.subarray(end + 2);
  return { name, fields, file: fields.get('compressed')?.[0] === 'zlib' ? inflateSync(body) : body };
}

function one(vector: Vector, key: string): string {
  return vector.fields.get(key)?.[0] ?? '';
}
