import { afterAll, beforeAll } from 'vitest';
import { storeConformance } from '../conformance/store.ts';
import { type RunningS3, startVersityGw } from '../support/s3-servers.ts';
import { openS3Store } from '../support/s3-store.ts';

const PART = 5 * 2 ** 20;
let server: RunningS3;
beforeAll(async () => {
  server = await startVersityGw();
});
afterAll(() => server[Symbol.asyncDispose]());

storeConformance('S3 on VersityGW, with locks and versions', async () => {
  const opened = await openS3Store(server, { objectLock: true });
  return {
    store: opened.store,
    partBytes: PART,
    manyKeys: 1100,
    locks: true,
    versions: true,
    keepsSha256: true,
    // VersityGW takes a delete marker for an object; Amazon does not.
    reusesDeleted: false,
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
});

for (const checksum of ['crc32', 'none'] as const) {
  storeConformance(`S3 on VersityGW, a plain bucket, no prefix, checksum ${checksum}`, async () => {
    const opened = await openS3Store(server, {}, { checksum, prefix: undefined });
    return {
      store: opened.store,
      partBytes: PART,
      manyKeys: 40,
      locks: false,
      versions: false,
      keepsSha256: false,
      reusesDeleted: true,
      [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
    };
  });
}
