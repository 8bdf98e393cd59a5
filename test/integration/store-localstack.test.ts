import { storeConformance } from '../conformance/store.ts';
import { openS3Store } from '../support/s3-store.ts';
import { sharedServer } from '../support/shared-servers.ts';

storeConformance('S3 on LocalStack, with locks and versions', async () => {
  const opened = await openS3Store(await sharedServer('localstack'), { objectLock: true });
  return {
    store: opened.store,
    partBytes: 5 * 2 ** 20,
    manyKeys: 1100,
    locks: true,
    versions: true,
    keepsSha256: true,
    reusesDeleted: true,
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
});
