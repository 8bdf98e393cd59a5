import { storeConformance } from '../conformance/store.ts';
import { startLocalStack } from '../support/s3-servers.ts';
import { openS3Store } from '../support/s3-store.ts';

storeConformance('S3 on LocalStack, with locks and versions', async () => {
  const stack = new AsyncDisposableStack();
  const server = stack.use(await startLocalStack());
  const { store } = stack.use(await openS3Store(server, { objectLock: true }));
  return {
    store,
    partBytes: 5 * 2 ** 20,
    manyKeys: 1100,
    locks: true,
    versions: true,
    keepsSha256: true,
    reusesDeleted: true,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
});
