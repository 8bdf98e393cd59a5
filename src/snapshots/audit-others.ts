/** What lies beside the folders that strongroom knows, the latest pointer, and uploads that never ended. */
import { isError } from '../core/errors.ts';
import { collect } from '../core/flow.ts';
import type { ClusterName } from '../core/ids.ts';
import { clusterPrefix, kindPrefix, latestKey, type ObjectKey, parseObjectKey } from '../store/layout.ts';
import { recordPrefix } from '../store/record-layout.ts';
import type { Store, StoredObject } from '../store/store.ts';
import type { Report } from './audit-findings.ts';
import { RUN_MS } from './audit-snapshot.ts';

export type OthersAudit = {
  cluster: ClusterName;
  now: Date;
  report: Report;
  onObject(store: Store, object: StoredObject): void;
};

/** Objects that stand by themselves: the pointer, and the mark of a run that is at work. */
const SINGLE_NAMES = ['latest.json', 'lease.json'];
const MAX_POINTER_BYTES = 4096;

/** Everything outside of the known folders. These are stepped over, so that it costs a request for each and not their listings. */
export async function auditStrangers(on: OthersAudit, store: Store, signal: AbortSignal): Promise<void> {
  const { cluster } = on;
  const prefix = clusterPrefix(cluster);
  const folders = [
    ...(['keys', 'data', 'sigs', 'manifests'] as const).map((kind) => kindPrefix(cluster, kind)),
    ...(['runs', 'proofs', 'holds', 'prunes', 'marks'] as const).map((kind) => recordPrefix(cluster, kind)),
  ];
  const steppedOver = new Set<string>();
  for (let after: string | null = ''; after !== null; ) {
    const from: { after?: string } = after === '' ? {} : { after };
    after = null;
    for await (const object of store.list(prefix, { signal, ...from })) {
      const folder = folders.find((known) => object.key.startsWith(known));
      // Behind the step there may be names that sort even later: those are met where the folder itself is walked.
      if (folder !== undefined && steppedOver.has(folder)) continue;
      if (folder !== undefined) {
        steppedOver.add(folder);
        after = `${folder}~`;
        break;
      }
      on.onObject(store, object);
      if (SINGLE_NAMES.some((name) => object.key === `${prefix}${name}`)) continue;
      on.report('foreign', 'it is no name of the layout', { destination: store.name, key: object.key });
    }
  }
}

/** A pointer may be old, or absent: it is a cache. It must not be unreadable, or name what is not there. */
export async function auditPointer({ cluster, report }: OthersAudit, store: Store, signal: AbortSignal): Promise<void> {
  const key = latestKey(cluster);
  const about = { destination: store.name, key };
  let pointed: string | null = null;
  try {
    const text = Buffer.from(await collect(store.get(key, { signal }), MAX_POINTER_BYTES)).toString('utf8');
    const json: unknown = JSON.parse(text);
    const named = typeof json === 'object' && json !== null && 'manifest' in json ? json.manifest : null;
    if (typeof named === 'string' && parseObjectKey(cluster, 'manifests', named) !== null) pointed = named;
  } catch (e) {
    if (isError(e, 'E_NOT_FOUND')) return;
    if (!(e instanceof SyntaxError) && !(e instanceof RangeError)) throw e;
  }
  if (pointed === null) report('pointer', 'it names no manifest', about);
  else if ((await store.head(pointed as ObjectKey, { signal })) === null) {
    report('pointer', `it names ${pointed}, which is not there`, about);
  }
}

/** Unfinished uploads of the cluster. Rejects as the store does. */
export async function auditUploads(
  { cluster, now, report }: OthersAudit,
  store: Store,
  signal: AbortSignal,
): Promise<void> {
  for await (const { key, startedAt } of store.listUnfinished(clusterPrefix(cluster), { signal })) {
    const about = { destination: store.name, key };
    const isOld = now.getTime() - startedAt.getTime() >= RUN_MS;
    report(
      isOld ? 'unfinished' : 'uploading',
      `an upload that began at ${startedAt.toISOString()} has not ended`,
      about,
    );
  }
}
