import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileStore } from '../../../src/store/file.ts';
import { storeConformance } from '../../conformance/store.ts';

storeConformance('directory', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'strongroom-store-'));
  return {
    store: new FileStore({ name: 'disk', directory }),
    partBytes: 100_000,
    manyKeys: 150,
    locks: false,
    versions: false,
    keepsSha256: true,
    reusesDeleted: true,
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  };
});
