/** A data object as a body to be stored again, read straight from the copies that there are: no key, no disk in between. */
import { createHash } from 'node:crypto';
import { expectedParts } from '../catalogue/copy.ts';
import type { Manifest } from '../catalogue/manifest.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import type { Bytes } from '../core/flow.ts';
import type { ClusterName, SnapshotId } from '../core/ids.ts';
import { objectKey } from '../store/layout.ts';
import type { PartedBody, Store } from '../store/store.ts';

/** `versionId`: null = what the key shows */
export type PartSource = { store: Store; versionId: string | null };

/**
 * Reads each part from the first of `sources` whose bytes are the signed ones, so that two copies damaged in different
 * places still make a whole one. No byte of a part comes out before all of it was right: one part is in memory for each
 * that is read at the same time.
 *
 * A part that no source has as it was signed ends the reading with E_STORE_CHECKSUM; where a source could not be asked,
 * with the error of that one: then it is not known. Either is kept in `failure`, for whoever must tell a failing source
 * from a failing destination.
 */
export class SignedParts implements PartedBody {
  readonly bytes: number;
  readonly partBytes: number;
  readonly partSha256: readonly Uint8Array[];
  failure: StrongroomError | null = null;
  readonly #cluster: ClusterName;
  readonly #snapshot: SnapshotId;
  readonly #signal: AbortSignal;
  readonly #unasked = new Map<PartSource, StrongroomError>();
  #sources: PartSource[];

  constructor(cluster: ClusterName, manifest: Manifest, sources: readonly PartSource[], signal: AbortSignal) {
    const { bytes, partBytes, partSha256 } = expectedParts(manifest);
    this.bytes = bytes;
    this.partBytes = partBytes;
    this.partSha256 = partSha256;
    this.#cluster = cluster;
    this.#snapshot = manifest.snapshot as SnapshotId;
    this.#sources = [...sources];
    this.#signal = signal;
  }

  async *read(start: number, end: number): Bytes {
    const index = start / this.partBytes;
    const meant = this.partSha256[index];
    if (meant === undefined || end !== Math.min(this.bytes, start + this.partBytes)) {
      throw new StrongroomError('E_BUG', `bytes ${start} to ${end} are no part of this body`);
    }
    for (const source of this.#sources) {
      const part = await this.#part(source, start, end, meant);
      if (part === null) continue;
      yield* part;
      return;
    }
    throw (this.failure = this.#nobody(index + 1));
  }

  /** null = not from there */
  async #part(source: PartSource, start: number, end: number, meant: Uint8Array): Promise<Uint8Array[] | null> {
    const { store, versionId } = source;
    const key = objectKey(this.#cluster, 'data', this.#snapshot);
    const version = versionId === null ? {} : { versionId };
    const chunks: Uint8Array[] = [];
    const hash = createHash('sha256');
    try {
      for await (const chunk of store.get(key, { signal: this.#signal, range: { start, end }, ...version })) {
        hash.update(chunk);
        chunks.push(chunk);
      }
    } catch (e) {
      this.#signal.throwIfAborted();
      if (!isError(e)) throw e;
      // A range behind the end of a copy that was cut off: the rest of it may be right.
      if (e.code !== 'E_PRECONDITION') this.#drop(source, e);
      return null;
    }
    if (hash.digest().equals(meant)) return chunks;
    // Its other parts may be right, but the others are asked first from now on.
    this.#sources = [...this.#sources.filter((other) => other !== source), source];
    return null;
  }

  /** One that does not answer is not asked for every part again, a minute each. */
  #drop(source: PartSource, e: StrongroomError): void {
    this.#sources = this.#sources.filter((other) => other !== source);
    if (e.code !== 'E_NOT_FOUND') this.#unasked.set(source, e);
  }

  #nobody(part: number): StrongroomError {
    const what = `part ${part} of ${this.partSha256.length} of ${this.#snapshot}`;
    const [unasked] = this.#unasked;
    if (unasked !== undefined) {
      const [{ store }, error] = unasked;
      return new StrongroomError(error.code, `${what} cannot be had now: ${store.name}: ${error.message}`, {
        ...(error.hint === undefined ? {} : { hint: error.hint }),
        retryable: error.retryable,
        cause: error,
      });
    }
    return new StrongroomError('E_STORE_CHECKSUM', `no destination holds ${what} as it was signed`, {
      hint: 'this snapshot is lost unless an older version in a bucket, or a copy of it elsewhere, still has it; make a new backup now',
      details: { snapshot: this.#snapshot, part },
      retryable: false,
    });
  }
}
