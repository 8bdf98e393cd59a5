/** What the groups of the store suite work with. */
import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { collect } from '../../src/core/flow.ts';
import type { ObjectKey } from '../../src/store/layout.ts';
import type { PartedBody, PutOptions, Store, StoredObject, UnfinishedUpload } from '../../src/store/store.ts';

export type StoreSetup = AsyncDisposable & {
  store: Store;
  /** the smallest part that is not the last one, in bytes */
  partBytes: number;
  /** how many keys the listing test writes: more than one page of the store */
  manyKeys: number;
  /** does it keep object locks? Without: E_PRECONDITION */
  locks: boolean;
  /** does it keep versions? */
  versions: boolean;
  /** does it keep the SHA-256 of what it stores? */
  keepsSha256: boolean;
  /** may "absent" be written over a delete marker, as on Amazon? */
  reusesDeleted: boolean;
};

export const never = new AbortController().signal;
export const MIB = 2 ** 20;

/** The store is there from `open` on; the rest may be taken out of it before. */
export class StoreBench {
  #setup: StoreSetup | undefined;

  open(setup: StoreSetup): void {
    this.#setup = setup;
  }

  get setup(): StoreSetup {
    if (this.#setup === undefined) throw new Error('the store is not open yet');
    return this.#setup;
  }

  get store(): Store {
    return this.setup.store;
  }

  /** keys of one test stand below a prefix of their own */
  readonly keys = (): { prefix: string; key: (rest: string) => ObjectKey } => {
    const prefix = `v1/${randomUUID()}/`;
    return { prefix, key: (rest) => `${prefix}${rest}` as ObjectKey };
  };

  readonly put = (
    key: ObjectKey,
    body: Uint8Array | PartedBody | string,
    options: Partial<PutOptions> = {},
  ): Promise<StoredObject> =>
    this.store.put(key, typeof body === 'string' ? Buffer.from(body) : body, {
      signal: never,
      condition: 'absent',
      contentType: 'application/octet-stream',
      ...options,
    });

  readonly read = async (key: ObjectKey, options: { range?: { start: number; end: number } } = {}): Promise<Buffer> =>
    Buffer.from(await collect(this.store.get(key, { signal: never, ...options }), 64 * MIB));

  readonly unfinished = (prefix: string): Promise<UnfinishedUpload[]> =>
    Array.fromAsync(this.store.listUnfinished(prefix, { signal: never }));

  readonly expectSum = (stored: StoredObject, sum: string): void =>
    expect(stored.sha256).toBe(this.setup.keepsSha256 ? sum : undefined);
}
