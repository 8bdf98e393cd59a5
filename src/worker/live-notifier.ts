/** The notifier of a process that runs for months: its sinks change with the config, and what is open goes on. */
import type { Config } from '../config/load.ts';
import { type NotifierWiring, startNotifier } from '../notifications.ts';
import type { SavedNotice } from '../notify/book.ts';
import type { Notifier, NotifierObserver } from '../notify/notifier.ts';

type Tell = (notifier: Notifier) => void;

/** What is on its way when the sinks change, or the process ends, has so long, in milliseconds. */
const FLUSH_MS = { change: 2_000, end: 5_000 } as const;

/** Made by {@link LiveNotifier.start}. Disposing sends what waits, for five seconds at most. */
export class LiveNotifier implements AsyncDisposable {
  readonly #wiring: Omit<NotifierWiring, 'restore'>;
  #notifier: Notifier;
  /** what is told while the sinks are being changed */
  #held: Tell[] | null = null;
  #next: Config | null = null;
  #changing: Promise<void> = Promise.resolve();

  private constructor(notifier: Notifier, wiring: Omit<NotifierWiring, 'restore'>) {
    this.#notifier = notifier;
    this.#wiring = wiring;
  }

  /** Rejects only with the reason of `signal`. */
  static async start(
    config: Config,
    wiring: Omit<NotifierWiring, 'restore'>,
    restore: () => Promise<readonly SavedNotice[]>,
    signal: AbortSignal,
  ): Promise<LiveNotifier> {
    return new LiveNotifier(await startNotifier(config, { ...wiring, restore }, signal), wiring);
  }

  /** Hands the notifier to `tell`, at once or as soon as the new sinks are there; in the order of the calls. */
  tell(tell: Tell): void {
    if (this.#held === null) tell(this.#notifier);
    else this.#held.push(tell);
  }

  /** For questions: what is asked while the sinks change is answered as it was before. */
  get now(): Pick<Notifier, 'isOpen' | 'open' | 'waiting' | 'saved'> {
    return this.#notifier;
  }

  /** Puts the sinks of `config` into force. Returns at once. */
  reconfigure(config: Config): void {
    this.#next = config;
    if (this.#held !== null) return;
    this.#held = [];
    this.#changing = this.#change();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#changing;
    await end(this.#notifier, FLUSH_MS.end);
  }

  async #change(): Promise<void> {
    for (let config = this.#next; config !== null; config = this.#next) {
      this.#next = null;
      await end(this.#notifier, FLUSH_MS.change);
      const open = this.#notifier.saved();
      const wiring = { ...this.#wiring, restore: () => Promise.resolve(open) };
      this.#notifier = await startNotifier(config, wiring, new AbortController().signal);
    }
    const held = this.#held ?? [];
    this.#held = null;
    for (const tell of held) tell(this.#notifier);
  }
}

/** Two observers as one. */
export function both(first: NotifierObserver, second: Partial<NotifierObserver>): NotifierObserver {
  return {
    delivered: (...said) => {
      first.delivered(...said);
      second.delivered?.(...said);
    },
    failed: (...said) => {
      first.failed(...said);
      second.failed?.(...said);
    },
    dropped: (...said) => {
      first.dropped(...said);
      second.dropped?.(...said);
    },
    restoreFailed: (e) => first.restoreFailed(e),
  };
}

/** Sends what waits, for `ms` at most; a sink that does not take it in time keeps nobody. */
async function end(notifier: Notifier, ms: number): Promise<void> {
  // What is left is reported to the observer as dropped, and stays in saved().
  await notifier.flush(AbortSignal.timeout(ms)).catch(() => undefined);
  await notifier[Symbol.asyncDispose]();
}
