/** Where a secret or a text is kept: `env:NAME` or `file:/path`. It is read when it is needed, and every time anew. */
import { open } from 'node:fs/promises';
import { inspect } from 'node:util';
import { StrongroomError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import { absolutePath, type Env } from './paths.ts';

/** `env:NAME` or `file:/path`. */
export const REFERENCE = /^(?:env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$/;

/** What a reference needs besides its own text; given to it once, by {@link loadConfig}. */
export type Origin = {
  /** absolute path of the config file's folder: relative paths start here */
  directory: string;
  env: Env;
  /** told about a secret file that every user of the machine may read */
  warn: (message: string) => void;
};

// Keys, tokens and CA bundles are a few KB; more than this is a path to the wrong file (or to /dev/zero).
const LIMIT = 1024 * 1024;

class Reference {
  /** as it stands in the config: `env:NAME`, `file:/path`, or the text itself where plain text is allowed */
  readonly source: string;
  #origin: Origin | undefined;
  #where = 'config';

  constructor(source: string) {
    this.source = source;
  }

  /** `where` is `file:line:column path`: every complaint about this reference begins with it. */
  bind(origin: Origin, where: string): void {
    this.#origin = origin;
    this.#where = where;
  }

  protected async read(isSecret: boolean, signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    const [, scheme, target = ''] = /^(env|file):(.+)$/s.exec(this.source) ?? [];
    if (scheme === undefined) return this.source;
    if (this.#origin === undefined)
      throw new StrongroomError('E_BUG', `${this.#where}: a reference without its config`);
    const text =
      scheme === 'env'
        ? this.#variable(target, this.#origin)
        : await this.#file(target, this.#origin, isSecret, signal);
    if (text === '') throw this.#unusable(`${this.source} is empty`, 'put the value there');
    return text;
  }

  #variable(name: string, origin: Origin): string {
    const value = origin.env[name];
    if (value === undefined) throw this.#unusable(`environment variable ${name} is not set`, `export ${name}=…`);
    return value;
  }

  async #file(target: string, origin: Origin, isSecret: boolean, signal: AbortSignal): Promise<string> {
    const path = absolutePath(target, origin);
    let bytes: Buffer;
    try {
      await using file = await open(path, 'r');
      if (isSecret && ((await file.stat()).mode & 0o004) !== 0) {
        origin.warn(`${this.#where}: ${path} is readable by every user of this machine; chmod o-r ${path}`);
      }
      // A stream that is made on a signal that is over throws its error at nobody, which ends the process.
      signal.throwIfAborted();
      const chunks: Buffer[] = [];
      for await (const chunk of file.createReadStream({ end: LIMIT, autoClose: false, signal })) {
        chunks.push(chunk as Buffer);
      }
      bytes = Buffer.concat(chunks);
    } catch (e) {
      signal.throwIfAborted();
      const code = e instanceof Error && 'code' in e ? String(e.code) : 'unreadable';
      throw this.#unusable(`${path} cannot be read (${code})`, 'check the path and its permissions', e);
    }
    if (bytes.byteLength > LIMIT) throw this.#unusable(`${path} is larger than 1 MiB`, 'check the path');
    return bytes.toString('utf8').replace(/\r?\n$/, '');
  }

  #unusable(what: string, hint: string, cause?: unknown): StrongroomError {
    return new StrongroomError('E_CONFIG_INVALID', `${this.#where}: ${what}`, {
      hint,
      ...(cause === undefined ? {} : { cause }),
    });
  }
}

/** A secret that is kept elsewhere. Prints as `***` and where it is kept, never as its value. */
export class SecretRef extends Reference {
  /**
   * The secret as it is now (tokens on disk are renewed by others): nothing is kept between two calls. One newline at
   * the end of a file is cut. Rejects with E_CONFIG_INVALID, saying where in the config and what is missing.
   */
  async resolve(signal: AbortSignal): Promise<Secret> {
    return new Secret(await this.read(true, signal));
  }

  override toString(): string {
    return `*** (${this.source})`;
  }

  toJSON(): string {
    return this.toString();
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

/** A text that is no secret (a certificate, a recipient): in the config itself, or kept elsewhere. */
export class TextRef extends Reference {
  /** The text as it is now; as {@link SecretRef.resolve} otherwise. */
  async resolve(signal: AbortSignal): Promise<string> {
    return this.read(false, signal);
  }

  /** true = the text stands in the config itself */
  get isInline(): boolean {
    return !REFERENCE.test(this.source);
  }

  toJSON(): string {
    return this.source;
  }
}
