/** Records over real directories: written everywhere, read from anywhere, believed only when signed for what their name says. */
import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HoldRecord, ProofRecord, RunRecord } from '../../../src/catalogue/record-types.ts';
import { Records } from '../../../src/catalogue/records.ts';
import { newRunId, newSnapshotId, parseClusterName, type RunId, type SnapshotId } from '../../../src/core/ids.ts';
import { generateSigningKey } from '../../../src/crypt/generate.ts';
import { localSigner } from '../../../src/crypt/sign.ts';
import { FileStore } from '../../../src/store/file.ts';
import { holdKey, proofKey, runKey } from '../../../src/store/record-layout.ts';

const never = new AbortController().signal;
const cluster = parseClusterName('prod');
const signer = localSigner(generateSigningKey().privateKeyPem);
const trusted = [await signer.publicKeyPem(never)];
let root: string;
let stores: FileStore[];
let records: Records;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'strongroom-records-'));
  stores = [];
  for (const name of ['a', 'b']) {
    await mkdir(join(root, name));
    stores.push(new FileStore({ name, directory: join(root, name) }));
  }
  records = new Records({ cluster, stores, trusted, signer });
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

const day = (date: number): Date => new Date(Date.UTC(2027, 0, date, 6));

function runOf(date: number, change: Partial<RunRecord> = {}): RunRecord {
  return {
    schema: '1',
    cluster,
    run: newRunId(day(date)),
    job: 'backup',
    door: 'schedule',
    dueAt: day(date).toISOString(),
    startedAt: day(date).toISOString(),
    endedAt: day(date).toISOString(),
    outcome: 'done',
    error: null,
    missing: [],
    snapshot: null,
    timings: { total: 1 },
    host: 'h',
    tool: '0',
    ...change,
  };
}

function proofOf(snapshot: SnapshotId, change: Partial<ProofRecord> = {}): ProofRecord {
  return {
    schema: '1',
    cluster,
    snapshot,
    destination: 'a',
    proof: newRunId(day(3)),
    run: newRunId(day(3)),
    provenAt: day(3).toISOString(),
    verdict: 'good',
    level: 'archive',
    openedWith: 'kms',
    bytes: 1,
    manifestSha256: 'a'.repeat(64),
    error: null,
    ...change,
  };
}

const holdOf = (snapshot: SnapshotId, act: 'hold' | 'release'): HoldRecord => ({
  schema: '1',
  cluster,
  snapshot,
  id: newRunId(day(4)),
  act,
  at: day(4).toISOString(),
  who: 'ana',
  why: 'audit of the year',
  until: null,
});

describe('runs', () => {
  it('are listed from a day on, oldest first, and read back', async () => {
    const all = [runOf(1), runOf(2), runOf(3, { job: 'verify' })];
    for (const record of all.toReversed()) {
      expect(await records.writeRun(record, never)).toEqual({ stored: ['a', 'b'], failures: [] });
    }
    const { names, failures } = await records.runs(day(2), never);
    expect(failures).toEqual([]);
    expect(names.map(({ job }) => job)).toEqual(['backup', 'verify']);
    for (const [i, name] of names.entries()) expect(await records.readRun(name, never)).toEqual(all[i + 1]);
  });

  it('are still there when a destination is lost, and written when one is away', async () => {
    const before = runOf(1);
    await records.writeRun(before, never);
    await rm(join(root, 'a'), { recursive: true });
    await writeFile(join(root, 'a'), 'not a folder');
    const after = runOf(2);
    const written = await records.writeRun(after, never);
    expect(written.stored).toEqual(['b']);
    expect(written.failures.map(({ store }) => store)).toEqual(['a']);
    const { names, failures } = await records.runs(day(1), never);
    expect(names).toHaveLength(2);
    expect(failures).toHaveLength(1);
    await rm(join(root, 'b'), { recursive: true });
    await writeFile(join(root, 'b'), 'not a folder');
    await expect(records.runs(day(1), never)).rejects.toMatchObject({
      code: expect.stringMatching(/^E_STORE/) as string,
    });
    await expect(records.writeRun(runOf(3), never)).rejects.toMatchObject({
      code: expect.stringMatching(/^E_STORE/) as string,
    });
  });
});

describe('what is not believed', () => {
  const readIt = async (record: RunRecord): Promise<RunRecord> =>
    records.readRun({ run: record.run as RunId, job: record.job }, never);

  it('a record that nobody trusted signed', async () => {
    const stranger = localSigner(generateSigningKey().privateKeyPem);
    const foreign = new Records({ cluster, stores, trusted, signer: stranger });
    const record = runOf(1);
    await foreign.writeRun(record, never);
    await expect(readIt(record)).rejects.toMatchObject({ code: 'E_SIGNATURE' });
  });

  it('a good record under another name, be it that of a later proof', async () => {
    const snapshot = newSnapshotId(day(1));
    const bad = proofOf(snapshot, { verdict: 'bad', level: 'failed' });
    await records.writeProof(bad, never);
    const good = { snapshot, destination: 'a', proof: newRunId(day(5)), verdict: 'good' } as const;
    for (const name of ['a', 'b']) {
      const to = join(root, name, proofKey(cluster, good));
      await mkdir(dirname(to), { recursive: true });
      await cp(join(root, name, proofKey(cluster, { ...good, proof: bad.proof as RunId, verdict: 'bad' })), to);
    }
    expect((await records.proofs(never)).names.map(({ verdict }) => verdict)).toEqual(['bad', 'good']);
    await expect(records.readProof(good, never)).rejects.toMatchObject({ code: 'E_MANIFEST' });
  });

  it('a record of another cluster', async () => {
    const elsewhere = new Records({ cluster: parseClusterName('test'), stores, trusted, signer });
    const record = runOf(1, { cluster: 'test' });
    await elsewhere.writeRun(record, never);
    await cp(join(root, 'a', 'v1', 'test'), join(root, 'a', 'v1', 'prod'), { recursive: true });
    await expect(readIt(record)).rejects.toMatchObject({ code: 'E_MANIFEST' });
  });

  it('what is there but is none, where another destination has it whole', async () => {
    const record = runOf(1);
    await records.writeRun(record, never);
    await writeFile(join(root, 'a', runKey(cluster, record.run as RunId, 'backup')), '{"half":');
    expect(await readIt(record)).toEqual(record);
    await writeFile(join(root, 'b', runKey(cluster, record.run as RunId, 'backup')), '{}');
    await expect(readIt(record)).rejects.toMatchObject({ code: 'E_MANIFEST' });
  });
});

describe('holds', () => {
  it('stay in the order in which they were set and released', async () => {
    const snapshot = newSnapshotId(day(1));
    const acts = [holdOf(snapshot, 'hold'), holdOf(snapshot, 'release'), holdOf(snapshot, 'hold')];
    for (const act of acts) await records.writeHold(act, never);
    const { names } = await records.holds(never);
    expect(names.map(({ act }) => act)).toEqual(['hold', 'release', 'hold']);
    const last = names.at(-1);
    if (last === undefined) throw new Error('no hold');
    expect(await records.readHold(last, never)).toEqual(acts[2]);
    expect(await readdir(join(root, 'b', dirname(holdKey(cluster, last))))).toHaveLength(3);
  });
});

it('nothing is written without a signing key', async () => {
  const reader = new Records({ cluster, stores, trusted, signer: null });
  await expect(reader.writeRun(runOf(1), never)).rejects.toMatchObject({ code: 'E_CONFIG_INVALID' });
});
