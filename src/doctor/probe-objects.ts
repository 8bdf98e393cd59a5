/** Objects that were made to try a bucket, and must not stay. */
import { randomUUID } from 'node:crypto';
import { describeError } from '../core/errors.ts';
import type { ClusterName } from '../core/ids.ts';
import { LAYOUT_VERSION, type ObjectKey, PROBE } from '../store/layout.ts';
import type { Versioning } from '../store/s3-inspect.ts';
import type { Store } from '../store/store.ts';
import { type Outcome, ok, warning } from './finding.ts';

const CLEANUP_MS = 30_000;
/** More than is ever put under one key. */
const MAX_VERSIONS = 4;

export class ProbeObjects {
  readonly #store: Store;
  readonly #cluster: ClusterName;
  readonly #keys: ObjectKey[] = [];

  constructor(store: Store, cluster: ClusterName) {
    this.#store = store;
    this.#cluster = cluster;
  }

  /** A key beside those of the backups, below what the policies of the cluster cover. It is removed at the end, whatever is there. */
  key(): ObjectKey {
    const key = `${LAYOUT_VERSION}/${this.#cluster}/${PROBE}-${randomUUID()}` as ObjectKey;
    this.#keys.push(key);
    return key;
  }

  /**
   * Removes what is there, each version of it, and looks whether it is gone. Not by the caller's signal: what was made is
   * removed also behind a Ctrl-C. Never rejects: what stays is a finding.
   */
  async remove(what: string, versioning: Versioning | null): Promise<Outcome> {
    const left: string[] = [];
    for (const key of this.#keys) {
      try {
        if (!(await this.#isGone(key, versioning))) left.push(`${key} is still there`);
      } catch (e) {
        left.push(`${key}: ${describeError(e)}`);
      }
    }
    this.#keys.length = 0;
    if (left.length === 0) return ok(what, 'nothing is left of what was tried');
    return warning(
      what,
      `could not be removed: ${left.join('; ')}`,
      'remove it with a login that may delete; strongroom never takes it for a backup',
    );
  }

  /** Version after version: behind one that is removed for good the one before it shows again. No markers are made. */
  async #isGone(key: ObjectKey, versioning: Versioning | null): Promise<boolean> {
    const signal = AbortSignal.timeout(CLEANUP_MS);
    for (let tries = 0; tries < MAX_VERSIONS; tries += 1) {
      const found = await this.#store.head(key, { signal });
      if (found === null) return true;
      const versionId = found.versionId ?? (versioning === 'suspended' ? 'null' : undefined);
      await this.#store.delete(key, { signal, ...(versionId === undefined ? {} : { versionId }) });
    }
    return (await this.#store.head(key, { signal })) === null;
  }
}
