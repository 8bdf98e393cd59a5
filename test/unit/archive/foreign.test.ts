/** Whole archives of a version, product or seal that is not the usual one: what is refused, and what is only said. */
import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { readArchive } from '../../../src/archive/read.ts';
import { chunked, sealConfig, type TestRecord } from '../../support/archive-builder.ts';
import { asVaultNames, type Forgery, forgeArchive } from '../../support/forged-archive.ts';
import { refusal } from './refusal.ts';

const REAL = await readFile(new URL('../../fixtures/archives/openbao-2.7.2-shamir.snap', import.meta.url));
const forged = (forgery: Forgery): Promise<Buffer> => forgeArchive(REAL, forgery);
const without =
  (name: RegExp) =>
  (records: TestRecord[]): TestRecord[] =>
    records.filter(({ key }) => !name.test(key));
const read = async (forgery: Forgery) => await readArchive(chunked(await forged(forgery)));

describe('a forged archive', () => {
  it('without any change tells what the real one tells', async () => {
    const real = await readArchive(chunked(REAL));
    const { bytes: _, writtenAt: __, members: ___, ...same } = await read({});
    expect(real).toMatchObject(same);
  });

  it.each([0, 2, 3])('of snapshot version %i is refused: a server would take it and stay sealed', async (version) => {
    expect(await refusal(await forged({ meta: { Version: version } }))).toMatchObject({
      code: 'E_SNAPSHOT_FORMAT',
      message: `the archive is of snapshot version ${version}, not 1`,
      details: { field: 'Version', version },
      hint: expect.stringContaining('accept it, fail to apply it, and stay sealed') as string,
    });
  });

  it.each([null, '1', 1.5, -1])('of snapshot version %j is refused as none', async (version) => {
    expect(await refusal(await forged({ meta: { Version: version } }))).toMatchObject({
      code: 'E_SNAPSHOT_FORMAT',
      message: 'Version in meta.json is not a whole number of at least 0',
    });
  });

  it.each([
    ['core/seal-config', /^core\/seal-config$/],
    ['core/keyring', /^core\/keyring$/],
    ['core/root-key or core/master', /^core\/root-key$/],
  ])('without %s is refused: nothing could open it', async (key, name) => {
    expect(await refusal(await forged({ records: without(name) }))).toMatchObject({
      code: 'E_SNAPSHOT_FORMAT',
      message: `state.bin has no ${key}: no cluster can be opened from it`,
    });
  });

  it('under a seal of no known type is taken, and its need is told', async () => {
    const records = (all: TestRecord[]) =>
      all.map((record) =>
        record.key === 'core/seal-config' ? { ...record, value: sealConfig('quantum', 1, 1) } : record,
      );
    const { seal, cautions } = await read({ records });
    expect(seal).toMatchObject({ type: 'quantum', recovery: null, keyIds: [] });
    expect(cautions).toContain('seal quantum: opens only with its key; recovery keys cannot unseal');
  });

  it('without mount tables is of no product, and that is told', async () => {
    const report = await read({ records: without(/^(namespaces\/[^/]+\/)?core\/(local-)?(mounts|auth)(\/|$)/) });
    expect(report.product).toBe('unknown');
    expect(report.cautions).toContain('neither the mount tables of Vault nor those of OpenBao are recognised');
  });

  it('under the key names and in the compression of Vault is of Vault', async () => {
    expect(await read({ records: asVaultNames, form: 'deflate' })).toMatchObject({
      product: 'vault',
      productVersion: '1.21.4',
      compression: 'deflate',
      seal: { type: 'shamir', sealedSums: 'present' },
    });
  });
});
