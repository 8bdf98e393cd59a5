/**
 * An answer of many GiB as undici's parser gives it out. Its own stream in between took a quarter more CPU for each GiB
 * (1.7 instead of 1.3 s, docs/performance.md), while the server holds its state for us.
 */
import type { Client, Dispatcher } from 'undici';

/** What may wait for the reader before the socket is no longer read, in bytes. */
const HIGH_WATER = 256 * 1024;

type Headers = Record<string, string | string[] | undefined>;
type Head = { statusCode: number; headers: Headers; body: DownloadBody };

/** Read once, to the end or until {@link DownloadBody.destroy}. */
export type DownloadBody = AsyncIterable<Uint8Array> & {
  /** Cuts the connection unless all of it has arrived; idempotent. */
  destroy(): void;
};

/**
 * Sends a request without a body and resolves when the headers are there. Rejects, and the body throws, with what undici
 * says, untranslated, or with `signal.reason`; what had arrived and was not read yet is dropped then.
 */
export function download(client: Client, options: Dispatcher.DispatchOptions, signal: AbortSignal): Promise<Head> {
  const handler = new Download(signal);
  try {
    if (!signal.aborted) client.dispatch(options, handler);
  } catch (e) {
    handler.fail(e);
  }
  return handler.head;
}

class Download implements Dispatcher.DispatchHandler, DownloadBody {
  readonly #head = Promise.withResolvers<Head>();
  readonly #signal: AbortSignal;
  #controller: Dispatcher.DispatchController | null = null;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #isOver = false;
  #failure: { reason: unknown } | null = null;
  #wake = (): void => undefined;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    if (signal.aborted) this.fail(signal.reason);
    else signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  get head(): Promise<Head> {
    return this.#head.promise;
  }

  fail(reason: unknown): void {
    if (this.#isOver) return;
    this.#failure = { reason };
    this.#waiting = [];
    this.#head.reject(reason);
    this.#end();
    // Before the connection stands there is no controller; onRequestStart looks for the failure.
    this.#controller?.abort(reason as Error);
  }

  destroy(): void {
    this.fail(new Error('the answer is not read any further'));
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        const chunks = this.#waiting;
        this.#waiting = [];
        this.#waitingBytes = 0;
        if (!this.#isOver) this.#controller?.resume();
        for (const chunk of chunks) {
          if (this.#failure !== null) break;
          yield chunk;
        }
        if (this.#failure !== null) throw this.#failure.reason;
        if (this.#waiting.length > 0) continue;
        if (this.#isOver) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      this.destroy();
    }
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#failure !== null) controller.abort(this.#failure.reason as Error);
  }

  onResponseStart(_controller: Dispatcher.DispatchController, statusCode: number, headers: Headers): void {
    if (statusCode >= 200) this.#head.resolve({ statusCode, headers, body: this });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Uint8Array): void {
    if (this.#isOver) return;
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.byteLength;
    if (this.#waitingBytes >= HIGH_WATER) controller.pause();
    this.#wake();
  }

  onResponseEnd(): void {
    this.#end();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.fail(error);
  }

  readonly #onAbort = (): void => this.fail(this.#signal.reason);

  #end(): void {
    this.#isOver = true;
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#wake();
  }
}
