/** The archive reader on another thread, behind the same three calls. The other end is verify-worker.ts. */
import { getCompileCacheDir } from 'node:module';
import { dirname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { StrongroomError } from '../core/errors.ts';
import type { ReadOptions } from './read.ts';
import type { ArchiveReport } from './report.ts';
import { type ForWorker, type FromWorker, reviveError, SLOT_BYTES, type ToWorker } from './verify-messages.ts';

/** 8 MiB: what may be on its way to the thread before `write` waits. */
const SLOTS = 8;

// tsc rewrites the extension in imports, not in this: the sources run as .ts, the build as .js.
const WORKER = new URL(`./verify-worker${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);

export type ThreadOptions = Pick<ReadOptions, 'requireSealedSums' | 'hashArchive'> & { signal: AbortSignal };

// Its garbage is many small wrappers of large buffers: a small nursery is emptied before they add up to megabytes.
const THREAD_LIMITS = { maxYoungGenerationSizeMb: 4 };

/**
 * The thread needs nothing of the environment but where compiled code is kept: a restore starts six of them, and each would
 * compile its code anew (measured from the sources: 0.25 s of CPU against 0.1 s). The folder of this version is made below it.
 */
function cacheOnly(): NodeJS.ProcessEnv {
  const directory = getCompileCacheDir();
  return directory === undefined ? {} : { NODE_COMPILE_CACHE: dirname(directory) };
}

export class ThreadedReader {
  readonly #worker: Worker;
  readonly #signal: AbortSignal;
  readonly #onAbort = () => this.#fail(this.#signal.reason);
  // Used again and again: a new buffer for each message costs more than the copy into it. Not shared memory: V8 copies to
  // and from that byte by byte unless both ends are aligned, six times as slow.
  readonly #free = Array.from({ length: SLOTS }, () => new Uint8Array(SLOT_BYTES));
  #filled = 0;
  #hasBegun = false;
  #failure: { reason: unknown } | undefined;
  #report: ArchiveReport | undefined;
  #wake: (() => void) | undefined;

  /** Starts the thread; `close` ends it, whatever happened. */
  constructor({ signal, requireSealedSums = true, hashArchive = false }: ThreadOptions) {
    this.#signal = signal;
    const workerData: ForWorker = { options: { requireSealedSums, hashArchive } };
    // The parent's flags may be unfit for it.
    this.#worker = new Worker(WORKER, { workerData, env: cacheOnly(), execArgv: [], resourceLimits: THREAD_LIMITS });
    this.#worker.on('message', (message: FromWorker) => this.#receive(message));
    this.#worker.on('error', (e) =>
      this.#fail(new StrongroomError('E_BUG', 'the verifying thread crashed', { cause: e })),
    );
    this.#worker.on('exit', (code) => {
      this.#fail(new StrongroomError('E_BUG', 'the verifying thread ended by itself', { details: { code } }));
    });
    signal.addEventListener('abort', this.#onAbort);
  }

  /** Copies the chunk over; gives a promise when there is no room until more has been read. Throws what was found so far. */
  write(chunk: Uint8Array): Promise<void> | undefined {
    const copied = this.#copy(chunk, 0);
    return copied === chunk.length ? undefined : this.#copyOn(chunk, copied);
  }

  async end(): Promise<ArchiveReport> {
    if (this.#failure === undefined) {
      this.#sendSlot();
      this.#send({ end: true });
    }
    await this.#until(() => this.#report !== undefined);
    if (this.#report === undefined) throw new StrongroomError('E_BUG', 'the verifying thread gave no report');
    return this.#report;
  }

  /** Ends the thread, at work or not, and resolves when it is gone. */
  async close(): Promise<void> {
    this.#signal.removeEventListener('abort', this.#onAbort);
    await this.#worker.terminate();
  }

  /** Gives how far it came; less than the whole when every slot is taken. */
  #copy(chunk: Uint8Array, from: number): number {
    if (this.#failure !== undefined) throw this.#failure.reason;
    let at = from;
    for (let slot = this.#free[0]; at < chunk.length && slot !== undefined; slot = this.#free[0]) {
      const piece = chunk.subarray(at, at + SLOT_BYTES - this.#filled);
      slot.set(piece, this.#filled);
      this.#filled += piece.length;
      at += piece.length;
      // The first bytes of an archive tell most of what is no archive. After them only full slots are sent: to wake the
      // thread for each chunk costs more than what it does then.
      if (this.#filled === SLOT_BYTES || !this.#hasBegun) this.#sendSlot();
    }
    return at;
  }

  async #copyOn(chunk: Uint8Array, from: number): Promise<void> {
    for (let at = from; at < chunk.length; at = this.#copy(chunk, at)) await this.#until(() => this.#free.length > 0);
  }

  #sendSlot(): void {
    if (this.#filled === 0) return;
    const slot = this.#free.shift();
    if (slot !== undefined) this.#send({ slot: slot.buffer, bytes: this.#filled }, [slot.buffer]);
    this.#filled = 0;
    this.#hasBegun = true;
  }

  #send(message: ToWorker, moved: readonly ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, moved);
  }

  #receive(message: FromWorker): void {
    if ('slot' in message) this.#free.push(new Uint8Array(message.slot));
    else if ('report' in message) this.#report = message.report;
    else this.#fail(reviveError(message.failure));
    this.#wake?.();
  }

  #fail(reason: unknown): void {
    this.#failure ??= { reason };
    this.#wake?.();
  }

  async #until(isTrue: () => boolean): Promise<void> {
    while (this.#failure === undefined && !isTrue()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#wake = undefined;
    if (this.#failure !== undefined) throw this.#failure.reason;
  }
}
