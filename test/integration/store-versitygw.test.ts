import { storeConformance } from '../conformance/store.ts';
import { openS3Store } from '../support/s3-store.ts';
import { sharedServer } from '../support/shared-servers.ts';

const PART = 5 * 2 ** 20;

storeConformance('S3 on VersityGW, with locks and versions', async () => {
  const opened = await openS3Store(await sharedServer('versitygw'), { objectLock: true });
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
    const opened = await openS3Store(await sharedServer('versitygw'), {}, { checksum, prefix: undefined });
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
