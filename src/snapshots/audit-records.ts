/** Every record in every store by itself: signed, and what its name says. */
import type { Records } from '../catalogue/records.ts';
import { eachBounded } from '../core/bounded.ts';
import { isError } from '../core/errors.ts';
import type { ClusterName, SnapshotId } from '../core/ids.ts';
import {
  holdKey,
  parseHoldKey,
  parseMarkKey,
  parseProofKey,
  parsePruneKey,
  parseRunKey,
  type RecordKind,
  recordPrefix,
} from '../store/record-layout.ts';
import type { Store, StoredObject } from '../store/store.ts';
import type { Chain } from './audit-chain.ts';
import { kindOfRecordRefusal, type Report } from './audit-findings.ts';

export type RecordsAudit = {
  cluster: ClusterName;
  records: Records;
  chain: Chain;
  report: Report;
  onObject(store: Store, object: StoredObject): void;
};

const KINDS = ['runs', 'proofs', 'holds', 'prunes', 'marks'] as const satisfies readonly RecordKind[];
/** Records of one store that are read at the same time. */
const READS_AT_ONCE = 8;

/** Rejects as the store does. Resolves to the keys of its good records of holds. */
export async function auditRecords(on: RecordsAudit, store: Store, signal: AbortSignal): Promise<Set<string>> {
  const holds = new Set<string>();
  const records = on.records.only(store.name);
  for (const kind of KINDS) {
    await eachBounded(
      store.list(recordPrefix(on.cluster, kind), { signal }),
      READS_AT_ONCE,
      async (object) => {
        on.onObject(store, object);
        const about = { destination: store.name, key: object.key };
        try {
          const isOurs = await readOne[kind]({ ...on, records }, object.key, signal);
          if (!isOurs) on.report('foreign', `it is no name of the layout`, about);
          else if (kind === 'holds') holds.add(object.key);
        } catch (e) {
          signal.throwIfAborted();
          // Removed since it was listed.
          if (isError(e, 'E_NOT_FOUND')) return;
          if (!isError(e, 'E_SIGNATURE') && !isError(e, 'E_MANIFEST')) throw e;
          on.report(kindOfRecordRefusal(e), e.message, about);
        }
      },
      signal,
    );
  }
  return holds;
}

/** Holds that some of the stores have and others lack. `held` = what {@link auditRecords} gave for each that answered. Pure. */
export function compareHolds(
  cluster: ClusterName,
  held: ReadonlyMap<Store, ReadonlySet<string>>,
  report: Report,
): void {
  const all = new Set([...held.values()].flatMap((keys) => [...keys]));
  for (const [store, keys] of held) {
    for (const key of all) {
      const name = keys.has(key) ? null : parseHoldKey(cluster, key);
      if (name === null) continue;
      const about = { destination: store.name, snapshot: name.snapshot, key: holdKey(cluster, name) };
      report('hold-missing', `the record of a ${name.act} is in another destination, and not there`, about);
    }
  }
}

type ReadOne = (on: RecordsAudit, key: string, signal: AbortSignal) => Promise<boolean>;

/** false = the key is none of the layout. Rejects with what is wrong with the record. */
const readOne: Record<RecordKind, ReadOne> = {
  async runs({ cluster, records, chain }, key, signal) {
    const name = parseRunKey(cluster, key);
    if (name === null) return false;
    const { snapshot, outcome, run } = await records.readRun(name, signal);
    if (snapshot !== null && outcome !== 'failed') chain.witness(snapshot as SnapshotId, `run ${run} made it`);
    return true;
  },
  async proofs({ cluster, records, chain }, key, signal) {
    const name = parseProofKey(cluster, key);
    if (name === null) return false;
    const { snapshot, destination, provenAt, verdict } = await records.readProof(name, signal);
    if (verdict === 'good')
      chain.witness(snapshot as SnapshotId, `${destination} was proven to hold it at ${provenAt}`);
    return true;
  },
  async holds({ cluster, records, chain }, key, signal) {
    const name = parseHoldKey(cluster, key);
    if (name === null) return false;
    const { snapshot, who, at, act } = await records.readHold(name, signal);
    if (act === 'hold') chain.witness(snapshot as SnapshotId, `${who} held it at ${at}`);
    return true;
  },
  async prunes({ cluster, records }, key, signal) {
    const name = parsePruneKey(cluster, key);
    if (name === null) return false;
    await records.readPrune(name, signal);
    return true;
  },
  async marks({ cluster, records }, key, signal) {
    const name = parseMarkKey(cluster, key);
    if (name === null) return false;
    await records.readMark(name, signal);
    return true;
  },
};
