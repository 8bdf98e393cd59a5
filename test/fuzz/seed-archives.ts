/** Small archives for the corpus out of those of real servers: `node test/fuzz/seed-archives.ts`. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { brotliCompressSync } from 'node:zlib';
import * as build from '../support/archive-builder.ts';
import { membersOf, recordsOf, unpack } from './plain-archive.ts';

const FIXTURES = new URL('../fixtures/archives/', import.meta.url);
const CORPUS = new URL('corpus/archive/', import.meta.url);
/** Of each kind of record so many, their values cut to so much: kilobytes instead of 64 KiB, and nothing of a kind lost. */
const PER_AREA = 1;
const MAX_VALUE = 40;
/** Term and version in front of a barrier value; the rest is noise, which would only make the files larger. */
const CLEAR = 5;

mkdirSync(CORPUS, { recursive: true });
for (const [name, form] of [
  ['openbao-2.6.2-shamir', 'stored'],
  ['openbao-2.7.2-shamir', 'stored-fixed'],
  ['openbao-2.7.2-static', 'stored-fixed'],
  ['openbao-2.7.2-static-restored', 'deflate'],
] as const) {
  const members = membersOf(unpack(readFileSync(new URL(`${name}.snap`, FIXTURES)))) ?? [];
  const content = (member: string): Buffer => members.find((each) => each.name === member)?.content ?? Buffer.alloc(0);
  const seen = new Map<string, number>();
  const records = (recordsOf(content('state.bin')) ?? []).flatMap(({ key, value }) => {
    const area = key
      .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '')
      .split('/', 5)
      .slice(0, -1)
      .join('/');
    seen.set(area, (seen.get(area) ?? 0) + 1);
    const isClear = /^core\/(seal-config|recovery-config|hsm\/barrier-unseal-keys)$/.test(key);
    if (!key.startsWith('core/') && (seen.get(area) ?? 0) > PER_AREA) return [];
    const cut = Buffer.alloc(Math.min(value.length, MAX_VALUE));
    value.copy(cut, 0, 0, CLEAR);
    return [{ key, value: isClear ? value : cut }];
  });
  const state = build.encodeState(records);
  const meta = content('meta.json')
    .toString()
    .replace(/"Size":\d+/, `"Size":${state.length}`);
  const hashed = [
    { name: 'meta.json', content: Buffer.from(meta) },
    { name: 'state.bin', content: state },
  ];
  const all = [
    ...hashed,
    { name: 'SHA256SUMS', content: build.sha256Sums(hashed) },
    { name: 'SHA256SUMS.sealed', content: content('SHA256SUMS.sealed') },
  ];
  const archive = build.encodeGzip(build.encodeTar(all), { form });
  writeFileSync(new URL(`seed-${name}-${form}.bin.br`, CORPUS), brotliCompressSync(archive));
}
