/** One connection that is kept: who answered on it is whom the next request on it reaches. */
import type { Client, Dispatcher } from 'undici';

/** Tells whether there was a connection at all: "no answer" and "never got there" have different causes. */
export class Reach {
  #open = 0;
  #lostAt = Number.NEGATIVE_INFINITY;
  #onLost = Promise.withResolvers<void>();

  constructor(dispatcher: Dispatcher) {
    dispatcher.on('connect', () => {
      this.#open += 1;
    });
    dispatcher.on('disconnect', () => {
      this.#open -= 1;
      this.#lostAt = performance.now();
      this.#onLost.resolve();
      this.#onLost = Promise.withResolvers<void>();
    });
  }

  /** Resolves when the next connection ends, from whichever side. */
  async lost(): Promise<void> {
    await this.#onLost.promise;
  }

  /** Was a connection open (TLS included) at any time from `began`, a performance.now(), until now? */
  since(began: number): boolean {
    return this.#open > 0 || this.#lostAt >= began;
  }
}

/** The owner disposes it, which breaks off what runs on it. */
export class Connection implements AsyncDisposable {
  readonly client: Client;
  readonly reach: Reach;
  /** how often it was opened */
  #opened = 0;
  /** the value of `#opened` at the last answer; null before one, and behind one that the peer closed with */
  #answered: number | null = null;

  constructor(client: Client) {
    this.client = client;
    this.reach = new Reach(client);
    client.on('connect', () => {
      this.#opened += 1;
    });
  }

  /** To be told of every answer: `header` is its `Connection`. */
  answered(header: string | undefined): void {
    this.#answered = /\bclose\b/i.test(header ?? '') ? null : this.#opened;
  }

  /**
   * Does what is sent now go to whoever gave the last answer? A balancer of connections may have led a new one elsewhere.
   * Where the peer says that it closes behind each answer there is nothing to hold on to, and it is always true.
   */
  isSame(): boolean {
    return this.#answered === null || this.#answered === this.#opened;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.destroy();
  }
}
