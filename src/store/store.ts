/**
 * The port to object storage. Two adapters keep it (s3, file), one conformance suite holds both (test/conformance/store.ts).
 *
 * Every method rejects with a {@link StrongroomError} of an `E_STORE_*` code (or `E_NOT_FOUND`), or with the abort reason.
 * "Not there" is `null` from {@link Store.head}, and `E_NOT_FOUND` from {@link Store.get} when the first byte is asked for.
 */
import type { Bytes } from '../core/flow.ts';
import type { ObjectKey } from './layout.ts';

/** A body that can be read again from any offset: a failed part is sent again from here, and never from memory. */
export type PartedBody = {
  /** length in bytes */
  readonly bytes: number;
  /** length of every part but the last, in bytes */
  readonly partBytes: number;
  /** SHA-256 of each part, 32 bytes each, in order; computed once and sent to every destination */
  readonly partSha256: readonly Uint8Array[];
  /** the bytes from `start` up to, not including, `end` */
  read(start: number, end: number): Bytes;
};

export type LockMode = 'governance' | 'compliance';

/** What makes an existing object acceptable. `absent` = the object must not be there (write once). */
export type WriteCondition = 'absent' | { readonly etag: string };

export type PutOptions = {
  signal: AbortSignal;
  condition: WriteCondition;
  contentType: string;
  /** user metadata, at most 2 KB in all; visible to everyone who may list: nothing that matters may be in it */
  metadata?: Readonly<Record<string, string>>;
  /** keep the object against deletion until then; a store without object lock rejects with E_PRECONDITION */
  lock?: { mode: LockMode; until: Date };
  /** called with the bytes stored so far */
  onProgress?: (bytes: number) => void;
};

export type StoredObject = {
  key: ObjectKey;
  bytes: number;
  etag: string;
  modifiedAt: Date;
  /** only where the bucket is versioned */
  versionId?: string;
  /** what the store itself computed and keeps: base64 SHA-256, and for a multipart object `<base64>-<parts>` (COMPOSITE) */
  sha256?: string;
  metadata?: Readonly<Record<string, string>>;
  lock?: { mode: LockMode; until: Date };
  /** under a legal hold: nobody deletes this version until somebody lifts it; {@link Store.head} alone tells */
  isLegallyHeld?: true;
};

/** One version of an object, or a delete marker. */
export type StoredVersion = {
  key: ObjectKey;
  /** null = from before the bucket had versions, or of a bucket without: there is one of it at most */
  versionId: string | null;
  /** what the key shows; under a current delete marker it shows nothing */
  isCurrent: boolean;
  isDeleteMarker: boolean;
  /** 0 for a delete marker */
  bytes: number;
  modifiedAt: Date;
};

export interface Store extends AsyncDisposable {
  /** the destination's name in the config */
  readonly name: string;
  /** where it is, for people and manifests, such as `s3://bucket/prefix`; no credentials */
  readonly location: string;
  /**
   * Stores all of `body` or nothing: on any failure no object and no unfinished upload is left, and that is awaited.
   * Rejects with E_STORE_CONFLICT when `condition` does not hold, and then leaves what is there untouched; also when another writer
   * has replaced the object before this could look at it. The ETag that it resolves to is always that of `body`.
   * The checksums go along, and the store must refuse bytes that do not fit them (E_STORE_CHECKSUM).
   */
  put(key: ObjectKey, body: PartedBody | Uint8Array, options: PutOptions): Promise<StoredObject>;
  /** The object's bytes, or those of `range` (`end` exclusive). Opens nothing before it is read from. */
  get(
    key: ObjectKey,
    options: { signal: AbortSignal; range?: { start: number; end: number }; versionId?: string },
  ): Bytes;
  /** null = not there */
  head(key: ObjectKey, options: { signal: AbortSignal; versionId?: string }): Promise<StoredObject | null>;
  /** In key order. `after` = only keys behind that one. One page is in memory at a time. */
  list(prefix: string, options: { signal: AbortSignal; after?: string }): AsyncIterable<StoredObject>;
  /**
   * Idempotent. In a versioned bucket this hides the object; `versionId` removes that version for good, and `null` the one
   * that is from before the bucket had versions.
   */
  delete(key: ObjectKey, options: { signal: AbortSignal; versionId?: string | null }): Promise<void>;
  /**
   * Is the object, or that version of it, under a legal hold? null = this store keeps none. Rejects with E_NOT_FOUND where
   * there is nothing to hold, unless the store keeps none.
   */
  legalHold(key: ObjectKey, options: { signal: AbortSignal; versionId?: string }): Promise<boolean | null>;
  /**
   * Sets or lifts it; idempotent. While it is set the version can be removed by nobody, whatever its lock says. Rejects with
   * E_PRECONDITION where {@link legalHold} says null.
   */
  setLegalHold(key: ObjectKey, isHeld: boolean, options: { signal: AbortSignal; versionId?: string }): Promise<void>;
  /**
   * Proves the right to write below `prefix` without leaving an object behind; with `lock` also that objects there can be
   * locked so, else E_PRECONDITION.
   */
  probeWrite(prefix: string, options: Pick<PutOptions, 'signal' | 'lock'>): Promise<void>;
  /**
   * Every version and delete marker below `prefix`, whatever a listing hides; one page is in memory at a time, and its order
   * is the store's. Where there are no versions: what is there now. E_STORE_DENIED for who may not ask, E_PRECONDITION for a
   * store that does not know the question.
   */
  versions(prefix: string, options: { signal: AbortSignal }): AsyncIterable<StoredVersion>;
  /**
   * Makes the object lock of a version (without `versionId` of the current one) last until `until`, in `mode`, and looks that
   * it does. Never shortens one: E_STORE_LOCKED. A store without object lock rejects with E_PRECONDITION.
   */
  extendLock(
    key: ObjectKey,
    change: { versionId?: string; until: Date; mode: LockMode },
    options: { signal: AbortSignal },
  ): Promise<void>;
  /** Unfinished uploads below `prefix`; for a directory, its temporary files. */
  listUnfinished(prefix: string, options: { signal: AbortSignal }): AsyncIterable<UnfinishedUpload>;
  /** Idempotent. */
  abortUnfinished(upload: UnfinishedUpload, options: { signal: AbortSignal }): Promise<void>;
}

export type UnfinishedUpload = { key: ObjectKey; uploadId: string; startedAt: Date };
