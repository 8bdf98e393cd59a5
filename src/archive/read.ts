/** Reads a raft snapshot archive once, from its first byte to its last, and believes nothing. */
import { createHash, type Hash } from 'node:crypto';
import { StrongroomError } from '../core/errors.ts';
import type { Bytes } from '../core/flow.ts';
import { GzipReader } from './gzip.ts';
import { cautions } from './inspect.ts';
import { checkSums, type Meta, readMeta } from './meta.ts';
import type { ArchiveReport } from './report.ts';
import { readSealedBlob } from './sealed.ts';
import { StateReader } from './state.ts';
import { Tally } from './tally.ts';
import { quote, type TarMember, TarReader } from './tar.ts';

const MEMBERS = ['meta.json', 'state.bin', 'SHA256SUMS', 'SHA256SUMS.sealed'] as const;
type MemberName = (typeof MEMBERS)[number];

/** The server's reader refuses a small member of this size and more (`copyEOFOrN` in its archive.go). */
const SMALL_MEMBER = 8192;
/** With `onRecord`, the longest record by default: 64 times the default `max_entry_size` of raft storage. */
const MAX_RECORD_BYTES = 64 * 1024 * 1024;
const SEAL_HINT =
  'a server whose seal cannot encrypt ends the download like this, with status 200: check the seal, then take another snapshot';

export type ReadOptions = {
  /** Gets every record in key order. `value` is valid during the call only; a throw ends the reading. */
  onRecord?: (record: { key: string; value: Uint8Array; sealWrap: boolean }) => void;
  /** `false` lets an archive pass whose SHA256SUMS.sealed is missing or unusable: a sanitised one. Default true. */
  requireSealedSums?: boolean;
  /** Also the SHA-256 of the archive itself. Default false. */
  hashArchive?: boolean;
  limits?: {
    /** Longest record that `onRecord` may be given; without `onRecord` values are read past, and nothing limits them. */
    maxRecordBytes?: number;
  };
};

/**
 * Reads `source` to its end and gives what it holds. Closes `source` on every path.
 *
 * Throws E_SNAPSHOT_TRUNCATED, E_SNAPSHOT_FORMAT, E_SNAPSHOT_CHECKSUM or E_SNAPSHOT_UNSEALED; whatever `source` throws
 * passes through. Memory does not grow with the archive: about 100 KB of buffers, with `onRecord` the longest record,
 * and at most `MAX_GROUPS` names of each kind for the report.
 */
export async function readArchive(source: Bytes, options: ReadOptions = {}): Promise<ArchiveReport> {
  const reader = new ArchiveReader(options);
  try {
    for await (const chunk of source) await reader.write(chunk);
    return reader.end();
  } finally {
    reader.close();
  }
}

/** The same by hand: `write` every chunk in order, then `end`; `close` in any case. */
export class ArchiveReader {
  readonly #options: ReadOptions;
  readonly #gzip: GzipReader;
  readonly #tar: TarReader;
  readonly #tally = new Tally();
  readonly #archiveHash: Hash | undefined;
  readonly #members: ArchiveReport['members'] = [];
  readonly #small = new Map<MemberName, Buffer>();
  #current: { name: MemberName; member: TarMember; hash: Hash; read: number } | undefined;
  #meta: Meta | undefined;
  #state: StateReader | undefined;
  #mtime = 0;

  constructor(options: ReadOptions = {}) {
    this.#options = options;
    if (options.hashArchive === true) this.#archiveHash = createHash('sha256');
    this.#tar = new TarReader({
      open: (member) => this.#open(member),
      data: (piece) => this.#data(piece),
      close: () => this.#close(),
    });
    this.#gzip = new GzipReader((data) => this.#tar.push(data));
  }

  /** Takes the next bytes; when it gives a promise, wait for that before the next call. Throws or rejects on damage. */
  write(chunk: Uint8Array): Promise<void> | undefined {
    this.#archiveHash?.update(chunk);
    return this.#gzip.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
  }

  /** The verdict, when the source has ended. */
  end(): ArchiveReport {
    if (this.#gzip.phase !== 'done' || !this.#tar.isDone) throw this.#truncated();
    const meta = this.#meta;
    const last = MEMBERS[this.#members.length];
    if (meta === undefined || (last !== undefined && last !== 'SHA256SUMS.sealed')) {
      throw new StrongroomError('E_SNAPSHOT_FORMAT', `the archive has no ${last ?? MEMBERS[0]}`, {
        details: { members: this.#members.map((member) => member.name) },
      });
    }
    checkSums(this.#small.get('SHA256SUMS') ?? Buffer.alloc(0), new Map(this.#members.map((m) => [m.name, m.sha256])));
    const seal = this.#tally.seal();
    const sealed = this.#readSealedSums();
    const report: ArchiveReport = {
      bytes: this.#gzip.bytesIn,
      sha256: this.#archiveHash?.digest('hex') ?? null,
      writtenAt: new Date(this.#mtime * 1000).toISOString(),
      members: this.#members,
      compression: this.#gzip.compression,
      ...this.#tally.product(),
      raft: meta.raft,
      seal: { ...seal, keyIds: [...new Set([...seal.keyIds, ...sealed.keyIds])], sealedSums: sealed.verdict },
      state: this.#tally.state(),
      cautions: [],
    };
    return { ...report, cautions: cautions(report) };
  }

  /** Frees the inflater. Idempotent. */
  close(): void {
    this.#gzip.close();
  }

  #open(member: TarMember): void {
    const wanted = MEMBERS[this.#members.length];
    const name = MEMBERS.find((known) => known === member.name);
    if (name === undefined || name !== wanted) {
      const what = name === undefined ? 'an unknown member' : 'a member out of its place';
      throw new StrongroomError('E_SNAPSHOT_FORMAT', `the archive has ${what}: ${quote(member.name)}`, {
        details: {
          member: member.name.slice(0, 100),
          bytes: member.bytes,
          wanted: wanted ?? null,
          tarOffset: this.#tar.offset,
        },
        hint: `a raft snapshot holds ${MEMBERS.join(', ')}, in this order, and nothing else`,
      });
    }
    if (name === 'state.bin') this.#openState(member.bytes);
    else if (member.bytes >= SMALL_MEMBER) throw this.#tooLong(name, member.bytes);
    this.#mtime = member.mtime;
    this.#current = { name, member, hash: createHash('sha256'), read: 0 };
    if (name !== 'state.bin') this.#small.set(name, Buffer.alloc(member.bytes));
  }

  #openState(bytes: number): void {
    const stated = this.#meta?.stateBytes;
    if (bytes !== stated) {
      throw new StrongroomError('E_SNAPSHOT_CHECKSUM', 'the size of state.bin is not the one in meta.json', {
        details: { member: 'state.bin', bytes, stated: stated ?? null },
      });
    }
    const { onRecord, limits } = this.#options;
    const maxValue = onRecord === undefined ? null : (limits?.maxRecordBytes ?? MAX_RECORD_BYTES);
    this.#state = new StateReader(bytes, maxValue, (record) => {
      this.#tally.add(record);
      onRecord?.(record);
    });
  }

  #data(piece: Buffer): void {
    const current = this.#current;
    if (current === undefined) return;
    current.hash.update(piece);
    if (current.name === 'state.bin') this.#state?.push(piece);
    else piece.copy(this.#small.get(current.name) ?? piece, current.read);
    current.read += piece.length;
  }

  #close(): void {
    const current = this.#current;
    if (current === undefined) return;
    this.#current = undefined;
    this.#members.push({ name: current.name, bytes: current.member.bytes, sha256: current.hash.digest('hex') });
    if (current.name === 'state.bin') this.#state?.end();
    if (current.name === 'meta.json') this.#meta = readMeta(this.#small.get('meta.json') ?? Buffer.alloc(0));
  }

  #readSealedSums(): { verdict: ArchiveReport['seal']['sealedSums']; keyIds: string[] } {
    const bytes = this.#small.get('SHA256SUMS.sealed');
    const blob = bytes === undefined || bytes.length === 0 ? null : readSealedBlob(bytes);
    const verdict = bytes === undefined ? 'absent' : blob?.isUsable === true ? 'present' : 'unusable';
    if (verdict !== 'present' && this.#options.requireSealedSums !== false) {
      const what = verdict === 'absent' ? 'is missing from the archive' : 'in the archive is nothing that a seal made';
      throw new StrongroomError('E_SNAPSHOT_UNSEALED', `SHA256SUMS.sealed ${what}`, {
        details: { member: 'SHA256SUMS.sealed', bytes: bytes?.length ?? null },
        hint: 'without it a server takes the archive only by force: take another snapshot; a sanitised archive is for drills',
      });
    }
    return { verdict, keyIds: blob?.keyIds ?? [] };
  }

  #truncated(): StrongroomError {
    const bytes = this.#gzip.bytesIn;
    const details = { bytes, tarBytes: this.#gzip.bytesOut, members: this.#members.map((member) => member.name) };
    const say = (where: string) =>
      new StrongroomError('E_SNAPSHOT_TRUNCATED', `the archive ends ${where}`, { details, hint: SEAL_HINT });
    if (bytes === 0)
      return new StrongroomError('E_SNAPSHOT_TRUNCATED', 'the archive is empty', { details, hint: SEAL_HINT });
    if (this.#gzip.phase === 'header') return say(`after ${bytes} of the 10 bytes of its gzip header`);
    if (bytes === 10) {
      return say('after its 10-byte gzip header: this is what a server sends whose seal cannot reach its KMS');
    }
    if (!this.#tar.isDone) return say(this.#tar.position);
    return say(this.#gzip.phase === 'footer' ? 'inside its gzip footer' : 'before its gzip footer');
  }

  #tooLong(name: MemberName, bytes: number): StrongroomError {
    return new StrongroomError('E_SNAPSHOT_FORMAT', `${name} in the archive has ${bytes} bytes`, {
      details: { member: name, bytes, limit: SMALL_MEMBER - 1 },
      hint: 'the server itself refuses to restore this',
    });
  }
}
