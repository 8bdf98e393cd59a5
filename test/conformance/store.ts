/** What every store must keep to, whatever is behind it: one suite for src/store/store.ts. */
import { afterAll, beforeAll, describe } from 'vitest';
import { StoreBench, type StoreSetup } from './store-bench.ts';
import { failing } from './store-failing.ts';
import { reading } from './store-reading.ts';
import { versions } from './store-versions.ts';
import { writing } from './store-writing.ts';

export type { StoreSetup } from './store-bench.ts';

/** Declares the suite. `open` is called once, and what it gives is disposed of at the end. */
export function storeConformance(name: string, open: () => Promise<StoreSetup>): void {
  describe(`store conformance: ${name}`, () => {
    const bench = new StoreBench();
    beforeAll(async () => bench.open(await open()));
    afterAll(() => bench.setup[Symbol.asyncDispose]());
    writing(bench);
    reading(bench);
    failing(bench);
    versions(bench);
  });
}
