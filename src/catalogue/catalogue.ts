/**
 * All snapshots of one cluster, read from the stores alone. Nothing here is cached on disk or in Redis: what the
 * destinations hold is the truth, and any one of them is enough.
 */

import { isError, StrongroomError } from '../core/errors.ts';
import { collect } from '../core/flow.ts';
import { type ClusterName, type SnapshotId, snapshotTime } from '../core/ids.ts';
import { verifySignature } from '../crypt/sign.ts';
import { kindPrefix, latestKey, objectKey, parseObjectKey } from '../store/layout.ts';
import { askAll, askBriefly } from '../store/patience.ts';
import type { Store, StoredObject } from '../store/store.ts';
import { MAX_MANIFEST_BYTES, type Manifest, manifestSha256, parseManifest } from './manifest.ts';
import { type Period, periodsUpTo, visitManifests } from './manifest-names.ts';
import { type Marks, readMarks } from './marks.ts';
import type { MarkRecord } from './record-types.ts';
import { Records } from './records.ts';
import { commitIn, isTombstone, MAX_TOMBSTONE_BYTES } from './tombstone.ts';

/** One snapshot as a listing shows it. */
export type CatalogueEntry = {
  snapshot: SnapshotId;
  /** names of the destinations that hold its manifest */
  destinations: string[];
};

/** A manifest whose signature, cluster and id were checked. */
export type VerifiedManifest = {
  manifest: Manifest;
  bytes: Uint8Array;
  sha256: string;
  /** the destination it was read from */
  readFrom: string;
  /** destinations whose manifest of this snapshot was refused or could not be read, and why */
  refused: { destination: string; error: StrongroomError }[];
};

export type CatalogueOptions = {
  cluster: ClusterName;
  /** read in this order: put the nearest first */
  stores: readonly Store[];
  /** PEM public keys whose signatures count */
  trusted: readonly string[];
};

/** The ids that one store names. */
type NamesOf = (store: Store, signal: AbortSignal, heard: () => void) => Promise<SnapshotId[]>;

/** An object of a listing, and the snapshot that its key names. */
type Named = { id: SnapshotId; object: StoredObject };

const MAX_SIGNATURE_BYTES = 4096;
const MAX_POINTER_BYTES = 4096;
/** With a key that `trusted` forgot, every manifest is refused: nobody waits until ten thousand of them are read. */
const MAX_REFUSED = 50;
/** How many objects of a listing may be opened to see whether they are tombstones. */
const MAX_OPENED = 32;

export class Catalogue {
  readonly cluster: ClusterName;
  readonly #stores: readonly Store[];
  readonly #trusted: readonly string[];

  constructor(options: CatalogueOptions) {
    this.cluster = options.cluster;
    this.#stores = options.stores;
    this.#trusted = options.trusted;
  }

  /** The same catalogue as these destinations alone hold it: what would be left if all the others were lost. */
  only(...destinations: readonly string[]): Catalogue {
    const stores = this.#stores.filter(({ name }) => destinations.includes(name));
    return new Catalogue({ cluster: this.cluster, stores, trusted: this.#trusted });
  }

  /**
   * Every snapshot that has a manifest anywhere, oldest first. Only names are read, no manifest is opened; one that a
   * listing does not show yet is found by the latest pointer.
   * A destination that cannot be listed is in `failures`; rejects when none can. With `period` only snapshots of its days.
   */
  async list(
    signal: AbortSignal,
    period: Period = {},
  ): Promise<{ entries: CatalogueEntry[]; failures: StrongroomError[] }> {
    const found = new Map<SnapshotId, Set<string>>();
    const failures = await this.#each(async (store, either, heard) => {
      for (const id of await this.#namesAndPointed(store, period, either, heard)) {
        found.set(id, (found.get(id) ?? new Set()).add(store.name));
      }
    }, signal);
    const order = this.#stores.map(({ name }) => name);
    const entries = [...found].map(([snapshot, names]) => ({
      snapshot,
      destinations: order.filter((name) => names.has(name)),
    }));
    entries.sort((a, b) => (a.snapshot < b.snapshot ? -1 : 1));
    return { entries, failures };
  }

  /**
   * The manifest of `snapshot`, from the first destination that has one which is signed by a trusted key and belongs there.
   * Rejects with E_NOT_FOUND when no destination has one, and with the first refusal when none is acceptable.
   */
  async read(snapshot: SnapshotId, signal: AbortSignal): Promise<VerifiedManifest> {
    const refused: VerifiedManifest['refused'] = [];
    for (const [i, store] of this.#stores.entries()) {
      const fetch = (either: AbortSignal): Promise<Uint8Array> => this.#fetchVerified(store, snapshot, either);
      const isLast = i === this.#stores.length - 1;
      try {
        const bytes = isLast ? await fetch(signal) : await askBriefly(store, fetch, signal);
        const manifest = parseManifest(bytes, this.cluster, snapshot);
        return { manifest, bytes, sha256: manifestSha256(bytes), readFrom: store.name, refused };
      } catch (e) {
        if (!isError(e)) throw e;
        refused.push({ destination: store.name, error: e });
      }
    }
    const worst = refused.find(({ error }) => error.code !== 'E_NOT_FOUND');
    if (worst !== undefined) throw worst.error;
    throw await this.#absent(snapshot, signal);
  }

  /**
   * The newest backup with an acceptable manifest, or null when there is no manifest at all; safety snapshots are passed
   * over. With `notAfter` the newest that was begun at or before that time. Manifests above it that were refused, or that a
   * pointer names and nobody has, are in `skipped`, newest first: a backup may go on, a restore must not pass over them in
   * silence. After {@link MAX_REFUSED} refusals the search ends with null. Those that are marked to be ignored are passed over, and are
   * in `ignored`.
   */
  async latest(
    signal: AbortSignal,
    { notAfter }: { notAfter?: Date } = {},
  ): Promise<{
    newest: VerifiedManifest | null;
    skipped: StrongroomError[];
    failures: StrongroomError[];
    ignored: MarkRecord[];
  }> {
    const tried = new Set<SnapshotId>();
    const ignored: MarkRecord[] = [];
    let marks: Marks | null = null;
    const skipped: StrongroomError[] = [];
    let failures: StrongroomError[] = [];
    for (const names of notAfter === undefined ? this.#fromTheEnd() : this.#upTo(notAfter)) {
      const ids = new Set<SnapshotId>();
      failures = await this.#each(async (store, either, heard) => {
        for (const id of await names(store, either, heard)) if (!tried.has(id)) ids.add(id);
      }, signal);
      for (const id of [...ids].sort().reverse()) {
        tried.add(id);
        try {
          const found = await this.read(id, signal);
          if (found.manifest.purpose !== 'backup') continue;
          marks ??= await this.#marksOrNone(signal);
          const mark = marks.ignored.get(id);
          if (mark === undefined) {
            // One that is away is told once.
            return { newest: found, skipped, failures: failures.length > 0 ? failures : marks.failures, ignored };
          }
          ignored.push(mark);
          continue;
        } catch (e) {
          if (!isError(e)) throw e;
          skipped.push(e);
        }
        if (skipped.length >= MAX_REFUSED) return { newest: null, skipped, failures, ignored };
      }
    }
    return { newest: null, skipped, failures, ignored };
  }

  /** What is marked to be ignored for restore. Rejects when no destination can say. */
  async marks(signal: AbortSignal): Promise<Marks> {
    const { cluster } = this;
    return await readMarks(
      new Records({ cluster, stores: this.#stores, trusted: this.#trusted, signer: null }),
      signal,
    );
  }

  /** A mark only saves a vain attempt: where marks cannot be read, whoever asks for the newest gets it, and is told. */
  async #marksOrNone(signal: AbortSignal): Promise<Marks> {
    try {
      return await this.marks(signal);
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      return { ignored: new Map(), newest: new Map(), failures: [e] };
    }
  }

  /** Throws E_SIGNATURE unless a trusted key signed exactly `bytes`. */
  checkSignature(bytes: Uint8Array, signature: Uint8Array): void {
    verifySignature(bytes, signature, this.#trusted);
  }

  /** Names to try, in steps. The pointer may have narrowed the first look, so where it shows nothing good comes a look at all. */
  *#fromTheEnd(): Generator<NamesOf> {
    yield (store, signal, heard) => this.#newestNames(store, signal, heard);
    yield (store, signal, heard) => this.#names(store, undefined, signal, heard);
  }

  /** Few requests however many snapshots there are: most often the last day is enough. */
  *#upTo(time: Date): Generator<NamesOf> {
    for (const period of periodsUpTo(time)) {
      yield async (store, signal, heard) => {
        const ids = await this.#namesOf(store, period, signal, heard);
        return ids.filter((id) => snapshotTime(id) <= time);
      };
    }
  }

  /**
   * Names at and behind the latest pointer; all of them where there is none. The pointer only narrows the listing: it
   * is not signed, so nothing is believed of it, and a name newer than it is always seen.
   */
  async #newestNames(store: Store, signal: AbortSignal, heard: () => void): Promise<SnapshotId[]> {
    const pointed = await this.#pointer(store, signal);
    if (pointed === null) return await this.#names(store, undefined, signal, heard);
    const { kind } = await commitIn(this, store, pointed, signal);
    // It stays a name to try where its manifest is gone: another destination may have it, or it was taken away.
    return [pointed, ...(await this.#names(store, kind === 'manifest' ? pointed : undefined, signal, heard))];
  }

  async #namesAndPointed(store: Store, period: Period, signal: AbortSignal, heard: () => void): Promise<SnapshotId[]> {
    const ids = await this.#namesOf(store, period, signal, heard);
    // What a pointer names is new: nobody who asks for a time that is over needs it.
    if (period.until !== undefined) return ids;
    try {
      const pointed = await this.#pointer(store, signal);
      if (pointed === null || ids.includes(pointed)) return ids;
      const { kind } = await commitIn(this, store, pointed, signal);
      return kind === 'manifest' ? [...ids, pointed] : ids;
    } catch (e) {
      // The listing answered: that is what was asked for.
      if (!isError(e)) throw e;
      return ids;
    }
  }

  /** What it means that nobody has a manifest of `snapshot`: never heard of, or its data is there all the same. */
  async #absent(snapshot: SnapshotId, signal: AbortSignal): Promise<StrongroomError> {
    const holders: string[] = [];
    for (const store of this.#stores) {
      try {
        const head = await store.head(objectKey(this.cluster, 'data', snapshot), { signal });
        if (head !== null) holders.push(store.name);
      } catch (e) {
        if (!isError(e)) throw e;
      }
    }
    if (holders.length === 0) {
      return new StrongroomError('E_NOT_FOUND', `no destination has a snapshot ${snapshot} of ${this.cluster}`, {
        hint: `strongroom snapshots list --cluster ${this.cluster}`,
      });
    }
    const where = holders.join(' and ');
    return new StrongroomError(
      'E_NOT_FOUND',
      `no destination has the manifest of ${snapshot}; its data is in ${where}`,
      {
        hint: 'its backup never ended, or the manifest was removed: in a bucket with versions, bring it back; else open the data by hand, as README.md beside it says',
        details: { snapshot, data: holders },
      },
    );
  }

  async #pointer(store: Store, signal: AbortSignal): Promise<SnapshotId | null> {
    try {
      const bytes = await collect(store.get(latestKey(this.cluster), { signal }), MAX_POINTER_BYTES);
      const json: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
      if (typeof json !== 'object' || json === null || !('manifest' in json)) return null;
      return typeof json.manifest === 'string' ? parseObjectKey(this.cluster, 'manifests', json.manifest) : null;
    } catch (e) {
      // A cache that is absent or spoilt costs a longer listing; a store that does not answer is the caller's to know.
      if (isError(e, 'E_NOT_FOUND') || e instanceof SyntaxError || e instanceof RangeError) return null;
      throw e;
    }
  }

  async #names(
    store: Store,
    after: SnapshotId | undefined,
    signal: AbortSignal,
    heard: () => void,
  ): Promise<SnapshotId[]> {
    if (after === undefined) return await this.#namesOf(store, {}, signal, heard);
    const found: Named[] = [];
    const behind = { signal, after: objectKey(this.cluster, 'manifests', after) };
    for await (const object of store.list(kindPrefix(this.cluster, 'manifests'), behind)) {
      heard();
      const id = parseObjectKey(this.cluster, 'manifests', object.key);
      if (id !== null) found.push({ id, object });
    }
    return await this.#unburied(store, found, signal);
  }

  async #namesOf(store: Store, period: Period, signal: AbortSignal, heard: () => void): Promise<SnapshotId[]> {
    const found: Named[] = [];
    const visit = (object: StoredObject): void => {
      heard();
      const id = parseObjectKey(this.cluster, 'manifests', object.key);
      if (id !== null) found.push({ id, object });
    };
    await visitManifests(store, this.cluster, period, visit, signal);
    return await this.#unburied(store, found, signal);
  }

  /**
   * Without those in whose place a tombstone is. Only what is as small as one is opened, the newest first and no more than
   * {@link MAX_OPENED}: tombstones are rare and short-lived, and whoever fills a bucket with small objects must not cost a request each.
   * What is not opened, or is no good, is told by whoever reads it.
   */
  async #unburied(store: Store, found: readonly Named[], signal: AbortSignal): Promise<SnapshotId[]> {
    const small = found
      .filter(({ object }) => object.bytes <= MAX_TOMBSTONE_BYTES)
      .sort((a, b) => (a.id < b.id ? 1 : -1));
    const opened = small.slice(0, MAX_OPENED);
    const isBuried = await Promise.all(opened.map((named) => this.#isBuried(store, named, signal)));
    const buried = new Set(opened.flatMap(({ id }, i) => (isBuried[i] === true ? [id] : [])));
    return found.flatMap(({ id }) => (buried.has(id) ? [] : [id]));
  }

  async #isBuried(store: Store, { id, object }: Named, signal: AbortSignal): Promise<boolean> {
    try {
      return isTombstone(this, id, await fetchSmall(store, object.key, MAX_TOMBSTONE_BYTES, signal));
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      return false;
    }
  }

  async #fetchVerified(store: Store, snapshot: SnapshotId, signal: AbortSignal): Promise<Uint8Array> {
    const bytes = await fetchSmall(store, objectKey(this.cluster, 'manifests', snapshot), MAX_MANIFEST_BYTES, signal);
    if (isTombstone(this, snapshot, bytes)) {
      throw new StrongroomError('E_NOT_FOUND', `snapshot ${snapshot} was never published in ${store.location}`, {
        hint: 'its run lost the lease of the cluster to another one, which made its own: use a newer snapshot',
      });
    }
    let signature: Uint8Array | null;
    try {
      signature = await fetchSmall(store, objectKey(this.cluster, 'sigs', snapshot), MAX_SIGNATURE_BYTES, signal);
    } catch (e) {
      if (!isError(e, 'E_NOT_FOUND')) throw e;
      signature = null;
    }
    if (signature === null) {
      throw new StrongroomError('E_SIGNATURE', `the manifest of ${snapshot} in ${store.location} has no signature`, {
        hint: 'an unsigned manifest is never trusted; another destination may have a signed one',
      });
    }
    this.checkSignature(bytes, signature);
    return bytes;
  }

  /** Runs `fn` for every store at once; a failure of one is an answer, a failure of all is thrown. */
  async #each(
    fn: (store: Store, signal: AbortSignal, heard: () => void) => Promise<void>,
    signal: AbortSignal,
  ): Promise<StrongroomError[]> {
    const results = await askAll(this.#stores, fn, signal);
    const failures: StrongroomError[] = [];
    for (const result of results) {
      if (result.status === 'fulfilled') continue;
      if (!isError(result.reason)) throw result.reason;
      failures.push(result.reason);
    }
    const [first] = failures;
    if (first !== undefined && failures.length === this.#stores.length) throw first;
    return failures;
  }
}

async function fetchSmall(
  store: Store,
  key: Parameters<Store['get']>[0],
  limit: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  try {
    return await collect(store.get(key, { signal }), limit);
  } catch (e) {
    if (!(e instanceof RangeError)) throw e;
    throw new StrongroomError('E_MANIFEST', `${key} in ${store.location} is larger than ${limit} bytes`, { cause: e });
  }
}
