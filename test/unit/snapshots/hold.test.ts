/** Hold and release over real directories: what is recorded, what is refused, and that nothing is said to be done that is not. */
import { rm, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { currentHolds } from '../../../src/catalogue/holds.ts';
import { newRunId, newSnapshotId, type SnapshotId } from '../../../src/core/ids.ts';
import { type HoldDeps, holdSnapshot, releaseSnapshot } from '../../../src/snapshots/hold.ts';
import { Audited, BOTH, DAY_MS, holdOf } from '../../support/audited.ts';
import { runCli, runJson } from '../../support/strongroom-cli.ts';

const never = new AbortController().signal;
let on: Audited;
let deps: HoldDeps;
let held: SnapshotId;
let free: SnapshotId;

beforeAll(async () => {
  on = await Audited.create();
  [held, free] = on.ids;
  await on.keep();
});
afterAll(() => on?.[Symbol.asyncDispose]());
beforeEach(async () => {
  await on.restore();
  const catalogue = await on.shelf.catalogue(on.stores);
  deps = { catalogue, records: on.records, stores: on.stores, clock: { now: () => new Date() } };
});

const heldNow = async (now = new Date()): Promise<string[]> =>
  [...(await currentHolds(on.records, now, never)).keys()].sort();
const request = { who: 'ben', why: 'a question of the auditors', until: null };

describe('hold', () => {
  it('is recorded everywhere with who, why and until, and says that directories keep no legal holds', async () => {
    const until = new Date(Date.now() + DAY_MS);
    const result = await holdSnapshot(deps, free, { ...request, until }, never);
    expect(result).toMatchObject({
      act: 'hold',
      record: { snapshot: free, who: 'ben', why: request.why, until: until.toISOString() },
      written: { stored: ['a', 'b'], failures: [] },
      legalHolds: BOTH.map((destination) => ({ destination, isSupported: false, changed: 0, error: null })),
      warnings: [],
    });
    expect((await currentHolds(on.records, new Date(), never)).get(free)).toEqual(result.record);
    expect(await heldNow(until)).toEqual([held]);
  });

  it('of nothing is refused, and of what is only evidence it is taken', async () => {
    const nothing = newSnapshotId(new Date());
    await expect(holdSnapshot(deps, nothing, request, never)).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
    for (const place of BOTH) await writeFile(on.path(place, 'manifests', free), '{}');
    const { warnings } = await holdSnapshot(deps, free, request, never);
    expect(warnings).toHaveLength(1);
    expect(await heldNow()).toEqual([held, free]);
  });

  it.each([
    ['without words', { ...request, why: '  ' }, '--why is empty'],
    ['by nobody', { ...request, who: '' }, '--who is empty'],
    ['that is over', { ...request, until: new Date(Date.now() - 1) }, 'over before it begins'],
  ])('%s is refused', async (_name, bad, message) => {
    await expect(holdSnapshot(deps, free, bad, never)).rejects.toMatchObject({
      code: 'E_USAGE',
      message: expect.stringContaining(message) as string,
    });
    expect(await heldNow()).toEqual([held]);
  });

  it('that one destination does not take is told', async () => {
    await rm(on.folder('b'), { recursive: true });
    await writeFile(on.folder('b'), 'no folder');
    const result = await holdSnapshot(deps, free, request, never);
    expect(result.written).toMatchObject({ stored: ['a'], failures: [{ store: 'b' }] });
    expect(result.legalHolds[1]).toMatchObject({
      destination: 'b',
      isSupported: null,
      error: { code: 'E_STORE_BUCKET' },
    });
    await rm(on.folder('b'));
  });
});

describe('release', () => {
  it('ends a hold, once', async () => {
    const result = await releaseSnapshot(deps, held, { who: 'ben', why: 'answered' }, never);
    expect(result).toMatchObject({ act: 'release', record: { snapshot: held, act: 'release', who: 'ben' } });
    expect(await heldNow()).toEqual([]);
    await expect(releaseSnapshot(deps, held, { who: 'ben', why: 'again' }, never)).rejects.toMatchObject({
      code: 'E_PRECONDITION',
      message: expect.stringContaining('ben released it at') as string,
    });
  });

  it('of what nobody has held is refused', async () => {
    await expect(releaseSnapshot(deps, free, { who: 'ben', why: 'w' }, never)).rejects.toMatchObject({
      code: 'E_PRECONDITION',
      message: expect.stringContaining('nobody has held it') as string,
    });
  });

  it('ends also a hold that was made under a clock that was ahead', async () => {
    const ahead = newRunId(new Date(Date.now() + DAY_MS));
    await on.records.writeHold(holdOf(deps.records.cluster, free, { id: ahead }), never);
    expect(await heldNow()).toEqual([held, free]);
    await releaseSnapshot(deps, free, { who: 'ben', why: 'w' }, never);
    expect(await heldNow()).toEqual([held]);
    // And a hold behind that release holds again.
    await holdSnapshot(deps, free, request, never);
    expect(await heldNow()).toEqual([held, free]);
  });
});

describe('on the command line', () => {
  const cli = (...args: string[]) => [...args, '--config', on.shelf.app.configFile];
  const options = () => ({ env: on.shelf.app.env });

  it('hold, show, list and release tell the same', async () => {
    const until = new Date(Date.now() + 30 * DAY_MS).toISOString();
    const args = cli('snapshots', 'hold', 'latest', '--why', 'an audit', '--until', until);
    const [, , newest] = on.ids;
    const document = await runJson(args, options());
    expect(document).toMatchObject({
      cluster: 'prod',
      snapshot: newest,
      act: 'hold',
      record: { why: 'an audit', until, who: expect.stringMatching(/./) as string },
      written: { stored: ['a', 'b'] },
    });
    const show = await runCli(cli('snapshots', 'show', newest), options());
    expect(show.stdout).toMatch(/^HELD {8}by .* until .*: an audit$/m);
    expect(await runJson(cli('snapshots', 'show', newest), options())).toMatchObject({ hold: { why: 'an audit' } });
    expect(await runJson(cli('snapshots', 'list', '--held'), options())).toMatchObject({
      snapshots: [
        { snapshot: newest, hold: { why: 'an audit' } },
        { snapshot: held, hold: { who: 'ana' } },
      ],
      more: 0,
    });
    const release = await runCli(cli('snapshots', 'release', newest, '--why', 'done', '--who', 'cy'), options());
    expect(release).toMatchObject({ code: 0, stderr: '' });
    expect(release.stdout).toContain(`${newest} is released`);
    expect(await runJson(cli('snapshots', 'show', newest), options())).toMatchObject({ hold: null });
    const again = await runCli(cli('snapshots', 'release', newest, '--why', 'done'), options());
    expect(again.code).toBe(14);
  });

  it('a destination that takes no record makes exit code 3', async () => {
    await rm(on.folder('b'), { recursive: true });
    await writeFile(on.folder('b'), 'no folder');
    const hold = await runCli(cli('snapshots', 'hold', free, '--why', 'an audit'), options());
    expect(hold.code).toBe(3);
    expect(hold.stdout).toMatch(/FAILED {7}b: no record there/);
    expect(hold.stderr).toContain('the record in b, the legal hold in b');
    await rm(on.folder('b'));
  });

  it('audit ends with 13 and names what is wrong, or with 0', async () => {
    const good = await runCli(cli('snapshots', 'audit'), options());
    expect(good).toMatchObject({ code: 0 });
    expect(good.stdout).toMatch(/^prod: nothing is wrong; 3 snapshots/);
    await on.remove('sigs', free, ['b']);
    const bad = await runCli(cli('snapshots', 'audit'), options());
    expect(bad.code).toBe(13);
    expect(bad.stdout).toMatch(/^prod: 1 WRONG;/);
    expect(bad.stdout).toMatch(new RegExp(`WRONG manifest-unsigned: 1\n {2}b ${free}: .*no signature\n {2}hint: `));
    expect(bad.stderr).toContain('E_AUDIT');
    expect(await runJson(cli('snapshots', 'audit'), options(), 13)).toMatchObject({
      wrong: 1,
      findings: [{ kind: 'manifest-unsigned', destination: 'b', snapshot: free, severity: 'wrong' }],
    });
  });
});
