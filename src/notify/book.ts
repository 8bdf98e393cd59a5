/** Which problems are open, and who was told of each. Decides what there is to tell; sends nothing. */
import type { Notice, NotifyEvent } from './event.ts';

/** One problem as JSON, to be kept by the caller and given back at the next start. */
export type SavedNotice = Omit<Notice, 'at' | 'openedAt'> & {
  at: string;
  openedAt: string;
  /** when it was last put out; default: `at` */
  toldAt?: string;
  /** sinks that know of it and must hear of its end; default: all that would be told of it */
  told?: readonly string[];
  /** sinks that have not taken the newest yet */
  owed?: readonly string[];
  /** by sink: the burst that it is part of there */
  bursts?: Readonly<Record<string, string>>;
};

export type Entry = { notice: Notice; toldAt: Date; told: Set<string>; owed: Set<string> };

export class Book {
  readonly #entries = new Map<string, Entry>();

  get entries(): IterableIterator<Entry> {
    return this.#entries.values();
  }

  /** null = not open, and nobody waits to hear of its end */
  find(key: string): Entry | null {
    return this.#entries.get(key) ?? null;
  }

  isOpen(key: string): boolean {
    const entry = this.#entries.get(key);
    return entry !== undefined && entry.notice.state !== 'resolved';
  }

  /**
   * Takes `event` in. Answers its entry when there is something to tell: a new problem (`open`), a change (`update`: one
   * that says so itself, or another severity), an end (`resolved`). null = known already; the newest words are kept.
   */
  enter(event: NotifyEvent): Entry | null {
    const known = this.#entries.get(event.key);
    if (known === undefined || known.notice.state === 'resolved') {
      if (event.state === 'resolved') return null;
      const entry = {
        notice: { ...event, state: 'open', openedAt: event.at } satisfies Notice,
        toldAt: event.at,
        // Who has not heard of the end of the one before still holds it open.
        told: new Set(known?.owed),
        owed: new Set(known?.owed),
      };
      this.#entries.set(event.key, entry);
      return entry;
    }
    const { openedAt, severity, state } = known.notice;
    const isNews = event.state !== 'open' || event.severity !== severity;
    const next = event.state === 'resolved' ? 'resolved' : isNews ? 'update' : state;
    known.notice = { ...event, state: next, openedAt };
    return isNews ? known : null;
  }

  put(entry: Entry): void {
    this.#entries.set(entry.notice.key, entry);
  }

  /** `sink` has what there is to tell of `key`, or will never have it. */
  settle(key: string, sink: string): void {
    const entry = this.#entries.get(key);
    entry?.owed.delete(sink);
    if (entry !== undefined && entry.notice.state === 'resolved' && entry.owed.size === 0) this.#entries.delete(key);
  }
}

/** `bursts` by sink; see {@link SavedNotice}. */
export function toSaved({ notice, toldAt, told, owed }: Entry, bursts: Readonly<Record<string, string>>): SavedNotice {
  return {
    ...notice,
    at: notice.at.toISOString(),
    openedAt: notice.openedAt.toISOString(),
    toldAt: toldAt.toISOString(),
    told: [...told],
    owed: [...owed],
    bursts,
  };
}

/** The notice of what {@link toSaved} wrote. Throws a RangeError when a time in it is none. */
export function fromSaved(saved: SavedNotice): { notice: Notice; toldAt: Date } {
  const { at, openedAt, toldAt = at, told: _told, owed: _owed, bursts: _bursts, ...rest } = saved;
  const dates = [at, openedAt, toldAt].map((text) => new Date(text)) as [Date, Date, Date];
  if (dates.some((date) => Number.isNaN(date.getTime())))
    throw new RangeError(`a saved notice of ${saved.key} has no time`);
  return { notice: { ...rest, at: dates[0], openedAt: dates[1] }, toldAt: dates[2] };
}
