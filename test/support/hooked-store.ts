/** A real store whose single operations can be made to fail, to wait, or to be carried out without an answer. */
import type { Store } from '../../src/store/store.ts';

export type Hooks = {
  put?: (next: () => ReturnType<Store['put']>, ...args: Parameters<Store['put']>) => ReturnType<Store['put']>;
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
    get: (...args) => store.get(...args),
    list: (...args) => store.list(...args),
    delete: (...args) => store.delete(...args),
    probeWrite: (...args) => store.probeWrite(...args),
    listUnfinished: (...args) => store.listUnfinished(...args),
    abortUnfinished: (...args) => store.abortUnfinished(...args),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}
