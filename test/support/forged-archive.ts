/**
 * Archives that nobody's server made, whole in every sum: a real one is taken apart into its records, changed, and put
 * together again. It takes no key; what it lacks is a seal that fits, and whoever would sign it.
 */
import { readArchive } from '../../src/archive/read.ts';
import {
  barrierValue,
  chunked,
  encodeGzip,
  encodeState,
  encodeTar,
  type GzipOptions,
  goodMembers,
  metaJson,
  sha256Sums,
  sorted,
  type TestRecord,
} from './archive-builder.ts';
import { membersOf } from './restore-trial.ts';

export type Forgery = {
  /** default: as they are */
  records?: (records: TestRecord[]) => TestRecord[];
  /** fields of meta.json; Size is made right in any case */
  meta?: Record<string, unknown>;
  /** default: the one of the original, which seals other sums now */
  sealed?: Buffer;
  form?: GzipOptions['form'];
};

/** The archive with these changes, its sizes, sums and frames made right. */
export async function forgeArchive(archive: Uint8Array, forgery: Forgery = {}): Promise<Buffer> {
  const { records: change = (records) => records, meta = {}, form = 'stored-fixed' } = forgery;
  const records: TestRecord[] = [];
  await readArchive(chunked(archive), {
    onRecord: ({ key, value, sealWrap }) => records.push({ key, value: Buffer.from(value), sealWrap }),
  });
  const state = encodeState(sorted(change(records)));
  const original = new Map(membersOf(archive).map(({ name, content }) => [name, content]));
  const stated = JSON.parse(String(original.get('meta.json'))) as Record<string, unknown>;
  const hashed = [
    { name: 'meta.json', content: metaJson(state.length, { ...stated, ...meta, Size: state.length }) },
    { name: 'state.bin', content: state },
  ];
  const sealed = forgery.sealed ?? original.get('SHA256SUMS.sealed');
  const members = goodMembers(state, sealed).filter(({ name }) => name === 'SHA256SUMS.sealed');
  return encodeGzip(encodeTar([...hashed, { name: 'SHA256SUMS', content: sha256Sums(hashed) }, ...members]), { form });
}

/** Another value in one record, of the same length: what a forger would do to a policy. */
export function replaceValue(key: string): (records: TestRecord[]) => TestRecord[] {
  return (records) => {
    const found = records.find((record) => record.key === key);
    if (found === undefined) throw new Error(`the archive has no ${key}`);
    return records.map((record) =>
      record === found ? { ...record, value: barrierValue(record.value.length) } : record,
    );
  };
}

/**
 * The records of an OpenBao archive under the names that Vault 1.21 gives them: one mount table for all, `core/master`, and
 * what only Vault writes. The shape of its archives as it is documented; no Vault wrote a byte of it.
 */
export function asVaultNames(records: readonly TestRecord[], version = '1.21.4'): TestRecord[] {
  const named = new Map<string, TestRecord>();
  for (const record of records) {
    if (/^(core\/)?namespaces\//.test(record.key)) continue;
    const key = record.key
      .replace(/^core\/(mounts|auth|local-mounts|local-auth)\/.*$/, 'core/$1')
      .replace(/^core\/root-key$/, 'core/master')
      .replace(/^core\/versions\/.*$/, `core/versions/${version}`);
    named.set(key, { ...record, key });
  }
  for (const key of ['core/cluster/feature-flags', 'core/cluster/local/name', 'core/raft/autopilot/state']) {
    named.set(key, { key, value: barrierValue(90) });
  }
  return [...named.values()];
}
