/**
 * The signed records of one cluster: read from any destination, written to all. They are what metrics, retention and
 * catch-up go by, so nothing of it is ever in a queue alone.
 */
import { isError, StrongroomError } from '../core/errors.ts';
import { collect } from '../core/flow.ts';
import type { ClusterName, RunId } from '../core/ids.ts';
import { openEnvelope, signEnvelope } from '../crypt/dsse.ts';
import type { Signer } from '../crypt/sign.ts';
import type { ObjectKey } from '../store/layout.ts';
import { askAll } from '../store/patience.ts';
import {
  type HoldName,
  holdKey,
  type MarkName,
  markKey,
  type ProofName,
  type PruneName,
  parseHoldKey,
  parseMarkKey,
  parseProofKey,
  parsePruneKey,
  parseRunKey,
  proofKey,
  proofsOf,
  pruneKey,
  type RecordKind,
  recordPrefix,
  runKey,
  runsFrom,
} from '../store/record-layout.ts';
import type { Store } from '../store/store.ts';
import {
  type HoldRecord,
  holdRecordSchema,
  type MarkRecord,
  markRecordSchema,
  type ProofRecord,
  type PruneRecord,
  proofRecordSchema,
  pruneRecordSchema,
  RECORD_TYPES,
  type RunRecord,
  runRecordSchema,
} from './record-types.ts';

export type RecordsOptions = {
  cluster: ClusterName;
  stores: readonly Store[];
  /** PEM public keys whose signatures count */
  trusted: readonly string[];
  /** null = records can be read only */
  signer: Signer | null;
};

/** Where a record was stored, and where not. */
export type Written = { stored: string[]; failures: { store: string; error: StrongroomError }[] };

export type RunName = { run: RunId; job: string };

/** A record is a page of JSON; what is larger is something else. */
const REFUSALS: readonly string[] = ['E_NOT_FOUND', 'E_SIGNATURE', 'E_MANIFEST'];
const MAX_RECORD_BYTES = 256 * 1024;

export class Records {
  readonly cluster: ClusterName;
  readonly #stores: readonly Store[];
  readonly #trusted: readonly string[];
  readonly #signer: Signer | null;

  constructor({ cluster, stores, trusted, signer }: RecordsOptions) {
    this.cluster = cluster;
    this.#stores = stores;
    this.#trusted = trusted;
    this.#signer = signer;
  }

  /** The records as these destinations alone hold them: nobody waits for one that is known to be away. */
  only(...destinations: readonly string[]): Records {
    const stores = this.#stores.filter(({ name }) => destinations.includes(name));
    return new Records({ cluster: this.cluster, stores, trusted: this.#trusted, signer: this.#signer });
  }

  async writeRun(record: RunRecord, signal: AbortSignal): Promise<Written> {
    return await this.#write('runs', runKey(this.cluster, record.run as RunId, record.job), record, signal);
  }

  async writeProof(record: ProofRecord, signal: AbortSignal): Promise<Written> {
    return await this.#write('proofs', proofKey(this.cluster, record as ProofRecord & ProofName), record, signal);
  }

  async writeHold(record: HoldRecord, signal: AbortSignal): Promise<Written> {
    return await this.#write('holds', holdKey(this.cluster, record as HoldRecord & HoldName), record, signal);
  }

  /** Names of runs since the day of `since`, oldest first. A destination that does not answer is in `failures`; rejects when none does. */
  async runs(since: Date, signal: AbortSignal): Promise<{ names: RunName[]; failures: StrongroomError[] }> {
    const { keys, failures } = await this.#list('runs', signal, { after: runsFrom(this.cluster, since) });
    return { names: keys.flatMap((key) => parseRunKey(this.cluster, key) ?? []), failures };
  }

  /**
   * Names of proofs, by snapshot and then by time, or only those of the snapshots that were begun on the days `of` spans. As
   * {@link runs}.
   */
  async proofs(
    signal: AbortSignal,
    of: { since?: Date; until?: Date } = {},
  ): Promise<{ names: ProofName[]; failures: StrongroomError[] }> {
    const { keys, failures } = await this.#list('proofs', signal, proofsOf(this.cluster, of));
    return { names: keys.flatMap((key) => parseProofKey(this.cluster, key) ?? []), failures };
  }

  /** Names of holds and releases, by snapshot and then by time. As {@link runs}. */
  async holds(signal: AbortSignal): Promise<{ names: HoldName[]; failures: StrongroomError[] }> {
    const { keys, failures } = await this.#list('holds', signal);
    return { names: keys.flatMap((key) => parseHoldKey(this.cluster, key) ?? []), failures };
  }

  /**
   * The record that `name` names. Rejects with E_NOT_FOUND, E_SIGNATURE, or E_MANIFEST for one that is not what its name says;
   * where no destination has a good one and some could not be asked, with the error of such a one.
   */
  async readRun(name: RunName, signal: AbortSignal): Promise<RunRecord> {
    return await this.#read('runs', runKey(this.cluster, name.run, name.job), signal, (json) => {
      const record = runRecordSchema.parse(json);
      return record.run === name.run && record.job === name.job ? record : null;
    });
  }

  /** As {@link readRun}. */
  async readProof(name: ProofName, signal: AbortSignal): Promise<ProofRecord> {
    return await this.#read('proofs', proofKey(this.cluster, name), signal, (json) => {
      const record = proofRecordSchema.parse(json);
      const { snapshot, destination, proof, verdict } = record;
      const isSame =
        snapshot === name.snapshot &&
        destination === name.destination &&
        proof === name.proof &&
        verdict === name.verdict;
      return isSame ? record : null;
    });
  }

  /** As {@link readRun}. */
  async readHold(name: HoldName, signal: AbortSignal): Promise<HoldRecord> {
    return await this.#read('holds', holdKey(this.cluster, name), signal, (json) => {
      const record = holdRecordSchema.parse(json);
      return record.snapshot === name.snapshot && record.id === name.id && record.act === name.act ? record : null;
    });
  }

  async writePrune(record: PruneRecord, signal: AbortSignal): Promise<Written> {
    return await this.#write('prunes', pruneKey(this.cluster, record as PruneRecord & PruneName), record, signal);
  }

  async writeMark(record: MarkRecord, signal: AbortSignal): Promise<Written> {
    return await this.#write('marks', markKey(this.cluster, record as MarkRecord & MarkName), record, signal);
  }

  /** Names of what prunes were about to remove, oldest first. As {@link runs}. */
  async prunes(signal: AbortSignal): Promise<{ names: PruneName[]; failures: StrongroomError[] }> {
    const { keys, failures } = await this.#list('prunes', signal);
    return { names: keys.flatMap((key) => parsePruneKey(this.cluster, key) ?? []), failures };
  }

  /** Names of marks, by snapshot and then by time. As {@link runs}. */
  async marks(signal: AbortSignal): Promise<{ names: MarkName[]; failures: StrongroomError[] }> {
    const { keys, failures } = await this.#list('marks', signal);
    return { names: keys.flatMap((key) => parseMarkKey(this.cluster, key) ?? []), failures };
  }

  /** As {@link readRun}. */
  async readPrune(name: PruneName, signal: AbortSignal): Promise<PruneRecord> {
    return await this.#read('prunes', pruneKey(this.cluster, name), signal, (json) => {
      const record = pruneRecordSchema.parse(json);
      const isSame = record.run === name.run && record.destination === name.destination && record.part === name.part;
      return isSame ? record : null;
    });
  }

  /** As {@link readRun}. */
  async readMark(name: MarkName, signal: AbortSignal): Promise<MarkRecord> {
    return await this.#read('marks', markKey(this.cluster, name), signal, (json) => {
      const record = markRecordSchema.parse(json);
      return record.snapshot === name.snapshot && record.id === name.id && record.act === name.act ? record : null;
    });
  }

  async #write(kind: RecordKind, key: ObjectKey, record: unknown, signal: AbortSignal): Promise<Written> {
    if (this.#signer === null) {
      throw new StrongroomError('E_CONFIG_INVALID', 'a record is signed, and no signing key is configured', {
        hint: 'set signing.key or signing.kms; strongroom keys generate makes one',
      });
    }
    const bytes = await signEnvelope(RECORD_TYPES[kind], record, this.#signer, signal);
    const written: Written = { stored: [], failures: [] };
    const put = { condition: 'absent', contentType: 'application/json' } as const;
    const results = await askAll(
      this.#stores,
      async (store, either) => {
        await store.put(key, bytes, { ...put, signal: either });
      },
      signal,
    );
    signal.throwIfAborted();
    for (const [i, result] of results.entries()) {
      const store = this.#stores[i]?.name ?? '';
      const error: unknown = result.status === 'rejected' ? result.reason : null;
      if (error === null) written.stored.push(store);
      else if (isError(error)) written.failures.push({ store, error });
      else throw error;
    }
    const [first] = written.failures;
    if (written.stored.length === 0 && first !== undefined) throw first.error;
    return written;
  }

  async #list(
    kind: RecordKind,
    signal: AbortSignal,
    { after, upTo }: { after?: string; upTo?: string } = {},
  ): Promise<{ keys: string[]; failures: StrongroomError[] }> {
    const keys = new Set<string>();
    const prefix = recordPrefix(this.cluster, kind);
    const results = await askAll(
      this.#stores,
      async (store, either, heard) => {
        for await (const { key } of store.list(prefix, { signal: either, ...(after === undefined ? {} : { after }) })) {
          heard();
          if (upTo !== undefined && key > upTo) break;
          keys.add(key);
        }
      },
      signal,
    );
    const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    signal.throwIfAborted();
    const foreign = failures.find((e) => !isError(e));
    if (foreign !== undefined) throw foreign;
    const ours = failures.filter((e) => isError(e));
    if (ours.length === this.#stores.length && ours[0] !== undefined) throw ours[0];
    return { keys: [...keys].sort(), failures: ours };
  }

  async #read<T extends { cluster: string }>(
    kind: RecordKind,
    key: ObjectKey,
    signal: AbortSignal,
    parse: (json: unknown) => T | null,
  ): Promise<T> {
    const refusals: StrongroomError[] = [];
    for (const store of this.#stores) {
      try {
        const bytes = await collect(store.get(key, { signal }), MAX_RECORD_BYTES);
        const record = parse(openEnvelope(bytes, RECORD_TYPES[kind], this.#trusted));
        if (record?.cluster === this.cluster) return record;
        refusals.push(
          new StrongroomError('E_MANIFEST', `${key} in ${store.location} is a record of something else`, {
            details: { isElsewhere: true },
          }),
        );
      } catch (e) {
        signal.throwIfAborted();
        if (isError(e)) refusals.push(e);
        else refusals.push(new StrongroomError('E_MANIFEST', `${key} in ${store.location} is no record`, { cause: e }));
      }
    }
    // One that could not be asked may have the good one: that outweighs what others have in its place.
    const unasked = refusals.find(({ code }) => !REFUSALS.includes(code));
    const worst = unasked ?? refusals.find(({ code }) => code !== 'E_NOT_FOUND') ?? refusals[0];
    throw worst ?? new StrongroomError('E_BUG', 'a record was looked for nowhere');
  }
}
