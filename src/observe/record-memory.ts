/** Records that were read and believed once are not fetched again: under their name there can never be anything else. */
import type { ProofRecord, RunRecord } from '../catalogue/record-types.ts';
import type { Records, RunName } from '../catalogue/records.ts';
import { isError } from '../core/errors.ts';
import type { SnapshotId } from '../core/ids.ts';
import type { ProofName } from '../store/record-layout.ts';
import type { BackupMembers } from './cluster-status.ts';

/** Newest of a few jobs and destinations are asked for again and again; more is of no use. */
const MAX_KEPT = 2_000;
/** What these say of a record does not pass: nobody can believe it, today or tomorrow. */
const REFUSALS: readonly string[] = ['E_SIGNATURE', 'E_MANIFEST', 'E_NOT_FOUND'];

/** Reads records; null = there is one of that name, and it cannot be believed. Rejects when it cannot be asked for. */
export type KnownRecords = Pick<Records, 'runs' | 'proofs'> & {
  run(name: RunName, signal: AbortSignal): Promise<RunRecord | null>;
  proof(name: ProofName, signal: AbortSignal): Promise<ProofRecord | null>;
};

/** Of one cluster; kept from one reading of its status to the next. */
export class RecordMemory {
  readonly #kept = new Map<string, RunRecord | ProofRecord>();
  /** of backups whose manifest was believed */
  readonly members = new Map<SnapshotId, BackupMembers>();

  over(records: Records): KnownRecords {
    return {
      runs: (since, signal) => records.runs(since, signal),
      proofs: (signal) => records.proofs(signal),
      run: (name, signal) => this.#once(`run ${name.run} ${name.job}`, () => records.readRun(name, signal), signal),
      proof: (name, signal) =>
        this.#once(
          `proof ${name.snapshot} ${name.proof} ${name.verdict} ${name.destination}`,
          () => records.readProof(name, signal),
          signal,
        ),
    };
  }

  async #once<T extends RunRecord | ProofRecord>(
    key: string,
    read: () => Promise<T>,
    signal: AbortSignal,
  ): Promise<T | null> {
    const kept = this.#kept.get(key);
    // The key says which kind it is.
    if (kept !== undefined) return kept as T;
    try {
      const record = await read();
      const oldest = this.#kept.keys().next();
      if (this.#kept.size >= MAX_KEPT && oldest.done !== true) this.#kept.delete(oldest.value);
      this.#kept.set(key, record);
      return record;
    } catch (e) {
      signal.throwIfAborted();
      if (isError(e) && REFUSALS.includes(e.code)) return null;
      throw e;
    }
  }
}
