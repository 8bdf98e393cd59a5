/** The archive reader: gzip, deflate, tar, meta.json, records, sums, and what a manifest makes of its report. */
import { crc32 } from 'node:zlib';
import { renderReport } from '../../src/archive/inspect.ts';
import { readArchive } from '../../src/archive/read.ts';
import type { ArchiveReport } from '../../src/archive/report.ts';
import { verifyArchive } from '../../src/archive/verify.ts';
import { archiveRecord } from '../../src/catalogue/archive-record.ts';
import { manifestSchema } from '../../src/catalogue/manifest.ts';
import { isError } from '../../src/core/errors.ts';
import type { Bytes } from '../../src/core/flow.ts';
import * as build from '../support/archive-builder.ts';
import { Random } from './engine/random.ts';
import { type Target, Violation } from './engine/target.ts';
import { membersOf, recordsOf, sha256Hex, unpack } from './plain-archive.ts';
import { reseal } from './reseal.ts';

const MAX_COMPARED = 4 * 2 ** 20;
const never = new AbortController().signal;
const tokens = [
  'meta.json',
  'state.bin',
  'SHA256SUMS',
  'SHA256SUMS.sealed',
  'core/seal-config',
  'core/recovery-config',
  'core/hsm/barrier-unseal-keys',
  'core/keyring',
  'core/master',
  'core/root-key',
  'core/mounts',
  'core/auth/',
  'core/versions/1.21.4',
  'core/versions/2.7.2-beta1',
  'core/cluster/feature-flags',
  'core/leader/x',
  'core/lock',
  'sys/expire/id/auth/token/create/h',
  'namespaces/n/',
  'logical/u/static-role/r',
  'logical/u/wal/1',
  '{"type":"shamir","secret_shares":3,"secret_threshold":2}',
  '"Suffrage":',
  '"Index":',
  '30 size=1\n',
  'multiwrapvalue:1',
  'ustar\0',
  '-1',
  '1e999',
  'null',
].map((text) => Buffer.from(text));
const binary = [
  '1f8b08000000000000ff',
  '010000ffff',
  '0300',
  '0100feff',
  '1801',
  'ffffffffffffffffff01',
  '0a00',
  '1200',
];

/** Small files that are large inside: one value, and names of keys. */
const BOMBS = [
  [{ key: 'zz', value: Buffer.alloc(24 * 2 ** 20) }],
  Array.from({ length: 600 }, (_, i) => ({
    key: `sys/expire/id/${i}/${'y'.repeat(30_000)}/h`,
    value: Buffer.alloc(0),
  })),
].map((records) => build.encodeArchive(build.sorted([...build.coreRecords(), ...records]), { form: 'deflate' }));

export const archive: Target = {
  maxBytes: 64 * 1024,
  covers: ['/src/archive/', '/src/catalogue/archive-record.'],
  codes: ['E_SNAPSHOT_TRUNCATED', 'E_SNAPSHOT_FORMAT', 'E_SNAPSHOT_CHECKSUM', 'E_SNAPSHOT_UNSEALED'],
  tokens: [...tokens, ...binary.map((hex) => Buffer.from(hex, 'hex'))],
  seeds: () => [],
  once: () => BOMBS,
  mutate: (input, random) => reseal(input, random, tokens),
  run: async (input) => {
    const whole = await outcome(() => readArchive(pieces(input, input.length), { hashArchive: true }));
    const { stage, report } = verifyArchive({ signal: never, threaded: false, hashArchive: true });
    let passed = 0;
    const cut = await outcome(async () => {
      for await (const piece of stage(pieces(input, 1 + (crc32(input) % 700)))) {
        if (!input.subarray(passed, passed + piece.length).equals(piece)) throw new Violation('other bytes passed on');
        passed += piece.length;
      }
      return report;
    });
    if ('error' in whole !== 'error' in cut) throw new Violation('the size of the pieces decides over the verdict');
    if ('error' in whole) throw whole.error;
    if ('error' in cut) throw cut.error;
    if (passed !== input.length) throw new Violation('a good archive was not passed on to its end');
    if (JSON.stringify(whole.report) !== JSON.stringify(cut.report)) throw new Violation('two reports of one archive');
    // What is compared here is held in memory as a whole; the readers are not to be blamed for that.
    if (whole.report.state.bytes <= MAX_COMPARED) await check(input, whole.report);
  },
};

/** Accepted: then a plain reader finds the same in it, and a manifest can hold the report. */
async function check(input: Buffer, report: ArchiveReport): Promise<void> {
  const records: { key: string; value: Buffer }[] = [];
  await readArchive(pieces(input, 5000), {
    onRecord: ({ key, value }) => records.push({ key, value: Buffer.from(value) }),
  });
  const promise = (isKept: boolean, what: string): void => {
    if (!isKept) throw new Violation(`accepted, but ${what}`);
  };
  const members = membersOf(unpack(input));
  if (members === null) throw new Violation('accepted, but no plain reader finds a tar');
  const content = (name: string): Buffer => members.find((member) => member.name === name)?.content ?? Buffer.alloc(0);
  promise(report.bytes === input.length && report.sha256 === sha256Hex(input), 'it is not the archive of the report');
  promise(
    members.map(({ name }) => name).join() === 'meta.json,state.bin,SHA256SUMS,SHA256SUMS.sealed',
    'it has other members',
  );
  promise(
    members.every(({ content, name }, i) => {
      const reported = report.members[i];
      return reported?.name === name && reported.bytes === content.length && reported.sha256 === sha256Hex(content);
    }),
    'the members are not those of the report',
  );
  for (const name of ['meta.json', 'state.bin']) {
    promise(
      content('SHA256SUMS').includes(`${sha256Hex(content(name))}  ${name}\n`),
      `SHA256SUMS does not vouch for ${name}`,
    );
  }
  const plain = recordsOf(content('state.bin'));
  promise(
    plain !== null &&
      plain.length === report.state.records &&
      plain.length === records.length &&
      plain.every(
        ({ keyBytes, value }, i) => records[i]?.value.equals(value) && keyBytes.equals(Buffer.from(records[i].key)),
      ),
    'the records are others',
  );
  const text = renderReport(report);
  promise(!/[^\P{C}\n]/u.test(text), 'the report for people has control characters');
  const kept = manifestSchema.shape.archive.safeParse(JSON.parse(JSON.stringify(archiveRecord(report))));
  promise(
    kept.success,
    `no manifest can hold its report: ${kept.error?.issues[0]?.path.join('.')} ${kept.error?.issues[0]?.message}`,
  );
}

async function outcome(read: () => Promise<ArchiveReport>): Promise<{ report: ArchiveReport } | { error: unknown }> {
  try {
    return { report: await read() };
  } catch (error) {
    if (!isError(error)) throw error;
    return { error };
  }
}

/** About as long as `size`, or all of it at once. */
async function* pieces(input: Buffer, size: number): Bytes {
  const random = new Random(size);
  for (let at = 0; at < input.length; ) {
    const end = size >= input.length ? input.length : at + 1 + random.below(2 * size);
    yield input.subarray(at, end);
    at = end;
  }
}
