/** What only an object tells: made, read, refused and removed again, where this login may remove it. */
import { isError } from '../core/errors.ts';
import { collect } from '../core/flow.ts';
import type { ObjectKey } from '../store/layout.ts';
import type { BucketSubject, Settings } from './bucket-checks.ts';
import { clockOutcome } from './clocks.ts';
import { type Outcome, ok, problem, unknown } from './finding.ts';
import type { ProbeObjects } from './probe-objects.ts';
import { attempt } from './run-checks.ts';

const BODY = Buffer.from('strongroom doctor: this may be deleted');

/** What stands in the way of making an object here; null = nothing. */
function hindrance({ mayDelete, lockRule }: Settings): string | null {
  if (mayDelete !== true) return 'this login may not delete, so no object was made that would stay';
  if (lockRule === null)
    return 'whether the bucket locks objects by itself is not known, so none was made that might stay';
  return lockRule.defaultDays === null
    ? null
    : 'the bucket locks every object by itself, so none was made that would stay';
}

/** Tries without an object what can be, and the rest where what is made can be removed. */
export async function tryObjects(
  subject: BucketSubject,
  settings: Settings,
  probes: ProbeObjects,
  signal: AbortSignal,
): Promise<Outcome[]> {
  const { name, options } = subject;
  const outcomes: Outcome[] = [];
  const why = hindrance(settings);
  // Where a store keeps what it should refuse, an object is made: only where it can be removed again.
  if (why !== null) {
    const how = 'run doctor with a login that may delete, such as that of role prune with s3:PutObject';
    return [unknown(`${name}, objects`, `${why}: reading, conditional writes and checksums were not tried`, how)];
  }
  const key = probes.key();
  const step = async (what: string, run: (limited: AbortSignal) => Promise<Outcome>): Promise<boolean> => {
    const found = await attempt(`${name}, ${what}`, signal, run);
    outcomes.push(...found);
    return found.every(({ status }) => status !== 'problem');
  };
  const isThere = await step('put', async (limited) => await put(subject, key, outcomes, limited));
  if (isThere) {
    await step('get', async (limited) => await get(subject, key, limited));
    await step('If-None-Match', async (limited) => await writeTwice(subject, key, limited));
  }
  if (options.conditionalWrites) {
    await step('If-Match', async (limited) =>
      (await subject.inspector.refusesUnmatched(probes.key(), limited))
        ? ok(`${name}, If-Match`, 'an object is replaced only where it is the one that was read')
        : ignored(`${name}, If-Match`, 'If-Match', name),
    );
  }
  await step('checksums', async (limited) => await damaged(subject, probes, limited));
  return outcomes;
}

async function put(
  { name, store, options }: BucketSubject,
  key: ObjectKey,
  outcomes: Outcome[],
  signal: AbortSignal,
): Promise<Outcome> {
  const before = Date.now();
  const stored = await store.put(key, BODY, { signal, condition: 'absent', contentType: 'text/plain' });
  outcomes.push(clockOutcome(`${name}, clock`, stored.modifiedAt.getTime() - (before + Date.now()) / 2));
  const how = options.sse === undefined ? '' : `, encrypted with ${options.sse.type}`;
  return ok(`${name}, put`, `an object was stored${how}`);
}

async function get({ name, store }: BucketSubject, key: ObjectKey, signal: AbortSignal): Promise<Outcome> {
  const read = await collect(store.get(key, { signal }), BODY.byteLength + 1);
  if (Buffer.from(read).equals(BODY)) return ok(`${name}, get`, 'and read again, every byte');
  return problem(
    `${name}, get`,
    'what is read is not what was stored',
    'look at what is between here and the store: a proxy, a gateway, a cache',
  );
}

/** Both ways in which a backup writes once: in one request, and in parts. */
async function writeTwice(
  { name, store, options, inspector }: BucketSubject,
  key: ObjectKey,
  signal: AbortSignal,
): Promise<Outcome> {
  const what = `${name}, If-None-Match`;
  const isRefused = await store
    .put(key, Buffer.from('another'), { signal, condition: 'absent', contentType: 'text/plain' })
    .then(
      () => false,
      (e: unknown) => {
        if (isError(e, 'E_STORE_CONFLICT')) return true;
        throw e;
      },
    );
  if (!isRefused) return ignored(what, 'If-None-Match', name);
  if (!options.conditionalWrites) return ok(what, 'conditionalWrites is false: looked before the write, and refused');
  if (await inspector.refusesSecondUpload(key, signal))
    return ok(what, 'the store itself refuses to overwrite, in one request and in parts');
  return ignored(what, 'If-None-Match at the end of an upload', name);
}

function ignored(what: string, header: string, destination: string): Outcome {
  return problem(
    what,
    `the store takes ${header} and overwrites all the same: two writers at once would destroy a backup, and each other's leases`,
    `destinations.${destination}.conditionalWrites: false, or a store that keeps conditions`,
  );
}

async function damaged(
  { name, inspector }: BucketSubject,
  probes: ProbeObjects,
  signal: AbortSignal,
): Promise<Outcome> {
  const what = `${name}, checksums`;
  const isRefused = await inspector.refusesDamaged(probes.key(), signal);
  if (isRefused === null)
    return unknown(
      what,
      'checksum: none sends none',
      `destinations.${name}.checksum: sha256, where the store knows it`,
    );
  if (isRefused) return ok(what, 'bytes that do not fit their checksum are refused');
  return problem(
    what,
    'the store keeps bytes that do not fit their checksum: what is damaged on the way would be stored',
    `destinations.${name}.checksum: crc32 or none, with prove: read for its clusters`,
  );
}
