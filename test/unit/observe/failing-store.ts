/** A directory that fails, or is silent, where it is asked for certain keys. */
import { once } from 'node:events';
import { StrongroomError } from '../../../src/core/errors.ts';
import { FileStore } from '../../../src/store/file.ts';

export type Failing = {
  get?: (key: string) => boolean;
  head?: (key: string) => boolean;
  /** says nothing until it is given up */
  silent?: boolean;
  isFirstGood?: boolean;
};

export class FailingStore extends FileStore {
  readonly #where: Failing;

  constructor(options: ConstructorParameters<typeof FileStore>[0], where: Failing) {
    super(options);
    this.#where = where;
  }

  override async *get(...[key, options]: Parameters<FileStore['get']>): ReturnType<FileStore['get']> {
    if (this.#where.get?.(key) === true) throw new StrongroomError('E_STORE_RESPONSE', `${key} cannot be read`);
    yield* super.get(key, options);
  }

  override async head(...[key, options]: Parameters<FileStore['head']>): ReturnType<FileStore['head']> {
    if (this.#where.head?.(key) === true) throw new StrongroomError('E_STORE_RESPONSE', `${key} cannot be seen`);
    return await super.head(key, options);
  }

  override async *list(...[prefix, options]: Parameters<FileStore['list']>): ReturnType<FileStore['list']> {
    if (this.#where.silent === true) await once(options.signal, 'abort').then(() => options.signal.throwIfAborted());
    yield* super.list(prefix, options);
  }
}
