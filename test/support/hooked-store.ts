/** A real store whose single operations can be made to fail, to wait, or to be carried out without an answer. */
import type { Store } from '../../src/store/store.ts';

export type Hooks = {
  put?: (next: () => ReturnType<Store['put']>, ...args: Parameters<Store['put']>) => ReturnType<Store['put']>;
  delete?: (
    next: () => ReturnType<Store['delete']>,
    ...args: Parameters<Store['delete']>
  ) => ReturnType<Store['delete']>;
  get?: (next: () => ReturnType<Store['get']>, ...args: Parameters<Store['get']>) => ReturnType<Store['get']>;
  versions?: Store['versions'];
  head?: (next: () => ReturnType<Store['head']>, ...args: Parameters<Store['head']>) => ReturnType<Store['head']>;
};

/** `hooks` may be changed at any time; what they do not name goes through. Whoever made `store` disposes it. */
export function hooked(store: Store, hooks: Hooks): Store {
  return {
    name: store.name,
    location: store.location,
    put: (...args) => (hooks.put === undefined ? store.put(...args) : hooks.put(() => store.put(...args), ...args)),
    head: (...args) =>
      hooks.head === undefined ? store.head(...args) : hooks.head(() => store.head(...args), ...args),
    get: (...args) => (hooks.get === undefined ? store.get(...args) : hooks.get(() => store.get(...args), ...args)),
    list: (...args) => store.list(...args),
    versions: (...args) => (hooks.versions ?? ((...same) => store.versions(...same)))(...args),
    extendLock: (...args) => store.extendLock(...args),
    delete: (...args) =>
      hooks.delete === undefined ? store.delete(...args) : hooks.delete(() => store.delete(...args), ...args),
    probeWrite: (...args) => store.probeWrite(...args),
    listUnfinished: (...args) => store.listUnfinished(...args),
    abortUnfinished: (...args) => store.abortUnfinished(...args),
    legalHold: (...args) => store.legalHold(...args),
    setLegalHold: (...args) => store.setLegalHold(...args),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}
