/** The one to tell. It keeps what is open, tells each sink what concerns it, and never makes its caller wait or fail. */
import type { StrongroomError } from '../core/errors.ts';
import type { Clock } from '../core/units.ts';
import { Book, type Entry, fromSaved, type SavedNotice, toSaved } from './book.ts';
import { compareSeverity, type Notice, type NotifyEvent, SEVERITIES, type Severity } from './event.ts';
import { Incidents } from './incidents.ts';
import { type Backoff, Lane, type LostWhy } from './lane.ts';
import type { PingSink, RunEnd } from './ping.ts';
import type { Sink } from './sink.ts';

export type SinkFilter = {
  /** told of this and worse; what a sink was told of, it is told of to the end */
  minSeverity: Severity;
  /** null = all. What concerns no single cluster is told to every sink */
  clusters: readonly string[] | null;
};

export type NotifierOptions = {
  sinks: readonly (SinkFilter & { sink: Sink })[];
  pings: readonly { sink: PingSink; clusters: readonly string[] | null; jobs: readonly string[] }[];
  /** more than `events` that wait within `windowMs` are one message */
  burst: { events: number; windowMs: number };
  /** what is still open is told again after so long, in ms */
  repeatAfterMs: number;
  /** most that may wait for one sink; default 1,000 */
  queueLimit?: number;
  /** waits after failures; default 2 s, doubling up to 5 minutes */
  backoff?: Backoff;
  /** a good run is not pinged later than this: it would say "now" of something past; default 2 minutes */
  pingMaxAgeMs?: number;
  clock: Clock;
  observer: NotifierObserver;
  /** The problems that were open when the process before this one ended. */
  restore(signal: AbortSignal): Promise<readonly SavedNotice[]>;
};

/** For logs and metrics. What it throws is dropped: telling must not end because counting does. */
export type NotifierObserver = {
  delivered(sink: string, events: number): void;
  /** `waitMs` = until it is tried again; null = given up */
  failed(sink: string, error: StrongroomError, waitMs: number | null): void;
  /** `sink` is not told of so many; what is still open then is told when it works again */
  dropped(sink: string, events: number, why: LostWhy): void;
  /** {@link Notifier.saved} has changed */
  changed?(): void;
  /** nobody knows what was open: everything is told anew */
  restoreFailed(error: unknown): void;
};

const DEFAULT_LIMIT = 1_000;
const DEFAULT_BACKOFF: Backoff = { baseMs: 2_000, maxMs: 5 * 60_000 };
const DEFAULT_PING_AGE_MS = 2 * 60_000;
/** A sink that failed so often in a row is a problem of its own, told to the others. */
const AILING_AFTER = 3;
/** Timers of Node cannot be longer. */
const TIMER_LIMIT_MS = 2 ** 31 - 1;

type Line = SinkFilter & { sink: Sink; lane: Lane<Notice>; incidents: Incidents | null };

/** Made by {@link Notifier.start}. The owner flushes it, then disposes it. */
export class Notifier implements AsyncDisposable {
  readonly #options: NotifierOptions;
  readonly #book = new Book();
  readonly #lines: readonly Line[];
  readonly #pings: readonly (NotifierOptions['pings'][number] & { lane: Lane<RunEnd> })[];
  #reminder: NodeJS.Timeout | undefined;
  #isClosed = false;

  private constructor(options: NotifierOptions) {
    this.#options = options;
    this.#lines = options.sinks.map((entry) => this.#line(entry));
    this.#pings = options.pings.map((entry) => ({ ...entry, lane: this.#pingLane(entry.sink) }));
  }

  /** Asks for what was open, and goes on where the process before ended. Rejects only with the reason of `signal`. */
  static async start(options: NotifierOptions, signal: AbortSignal): Promise<Notifier> {
    const notifier = new Notifier(options);
    try {
      notifier.#restore(await options.restore(signal));
    } catch (e) {
      signal.throwIfAborted();
      notifier.#observe((observer) => observer.restoreFailed(e));
    }
    return notifier;
  }

  /** Takes `event` and returns at once; whether there is something to tell is decided here. See {@link Book.enter}. */
  notify(event: NotifyEvent): void {
    const entry = this.#book.enter(event);
    if (entry !== null) this.#dispatch(entry);
    this.#observe((observer) => observer.changed?.());
  }

  /** Is it known here that `key` is open? */
  isOpen(key: string): boolean {
    return this.#book.isOpen(key);
  }

  /** What is open as far as is known here. */
  open(): Notice[] {
    return [...this.#book.entries].flatMap(({ notice }) => (notice.state === 'resolved' ? [] : [notice]));
  }

  /** Takes for open what another process told of; what is known here already stays as it is. Tells nobody. */
  know(saved: readonly SavedNotice[]): void {
    for (const one of saved) if (this.#book.find(one.key) === null) this.#adopt(one);
    this.#remindLater();
    this.#observe((observer) => observer.changed?.());
  }

  /**
   * The end of a problem that somebody else told, or may have died over telling: here only sinks hear of it that hold an
   * incident, which costs them nothing twice, and those that still wait for the newest. Also of what is not known here.
   */
  endedElsewhere(event: NotifyEvent): void {
    const at = event.at.toISOString();
    // Whoever might have been told of the worst.
    this.know([{ ...event, state: 'open', severity: 'critical', at, openedAt: at }]);
    const entry = this.#book.enter({ ...event, state: 'resolved' });
    if (entry !== null) this.#dispatch(entry, ({ sink }) => sink.holdsIncidents || entry.owed.has(sink.name));
    this.#observe((observer) => observer.changed?.());
  }

  /** Tells the dead man's services how a run ended. Returns at once. */
  ran(run: RunEnd): void {
    for (const { lane, clusters, jobs } of this.#pings) {
      if (jobs.includes(run.job) && (clusters === null || clusters.includes(run.cluster))) {
        lane.put(`${run.cluster}/${run.job}`, run);
      }
    }
  }

  /** What is open, and what somebody has still to hear of; for `restore` of the next start. JSON. */
  saved(): SavedNotice[] {
    return [...this.#book.entries].map((entry) => {
      const bursts = this.#lines.flatMap(({ sink, incidents }) => {
        const burst = incidents?.burstOf(entry.notice.key) ?? null;
        return burst === null ? [] : [[sink.name, burst]];
      });
      return toSaved(entry, Object.fromEntries(bursts) as Record<string, string>);
    });
  }

  /** How many wait for each sink, by name. */
  waiting(): Record<string, number> {
    const lanes = [...this.#lines, ...this.#pings].map(({ sink, lane }) => [sink.name, lane.size] as const);
    return Object.fromEntries(lanes);
  }

  /** Sends what waits, without gathering. Resolves when nothing waits any more; rejects with the reason of `signal`. */
  async flush(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#lines, ...this.#pings].map(({ lane }) => lane.flush(signal)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#reminder);
    await Promise.all([...this.#lines, ...this.#pings].map(({ lane }) => lane[Symbol.asyncDispose]()));
  }

  #dispatch(entry: Entry, isFor: (line: Line) => boolean = () => true): void {
    const { notice } = entry;
    entry.toldAt = this.#options.clock.now();
    for (const line of this.#lines.filter((candidate) => concerns(candidate, entry) && isFor(candidate))) {
      entry.told.add(line.sink.name);
      entry.owed.add(line.sink.name);
      line.lane.put(notice.key, notice);
    }
    // Where nobody is concerned, its end concerns nobody either.
    if (notice.state === 'resolved') this.#book.settle(notice.key, '');
    this.#remindLater();
  }

  #restore(saved: readonly SavedNotice[]): void {
    for (const one of saved) this.#adopt(one);
    this.#endLeftBehind();
    this.#remindLater();
  }

  #adopt(one: SavedNotice): void {
    const { notice, toldAt } = fromSaved(one);
    const entry: Entry = { notice, toldAt, told: new Set(one.told), owed: new Set() };
    const concerned = this.#lines.filter((line) => concerns(line, entry));
    if (one.told === undefined) entry.told = new Set(concerned.map(({ sink }) => sink.name));
    this.#book.put(entry);
    for (const { sink, lane, incidents } of this.#lines) {
      if (entry.told.has(sink.name)) incidents?.rejoin(one.bursts?.[sink.name] ?? null, notice);
      if (one.owed?.includes(sink.name) !== true) continue;
      entry.owed.add(sink.name);
      lane.put(notice.key, notice);
    }
    if (notice.state === 'resolved') this.#book.settle(notice.key, '');
  }

  /** A sink that failed and was then taken out of the config will never work again: nobody else would end that. */
  #endLeftBehind(): void {
    const names = new Set([...this.#lines, ...this.#pings].map(({ sink }) => ailingKey(sink.name)));
    for (const { notice } of this.#book.entries) {
      if (!notice.key.startsWith(ailingKey('')) || names.has(notice.key)) continue;
      const text = 'The sink is not in the config any more.';
      this.notify({ ...notice, state: 'resolved', text, at: this.#options.clock.now(), fields: {} });
    }
  }

  #line({ sink, minSeverity, clusters }: NotifierOptions['sinks'][number]): Line {
    const incidents = sink.holdsIncidents ? new Incidents(sink) : null;
    const { burst } = this.#options;
    const lane = new Lane<Notice>({
      ...this.#laneOptions(sink.name),
      send: (notices, signal) => (incidents ?? sink).send(notices, signal),
      gatherMs: burst.windowMs,
      oneByOne: burst.events,
      // An end is worth least: whoever missed the problem need not hear of its end, and the next look tells both.
      worth: ({ state, severity }) => (state === 'resolved' ? -1 : SEVERITIES.indexOf(severity)),
      onSent: (notices) => {
        for (const { key } of notices) if (!lane.has(key)) this.#book.settle(key, sink.name);
        this.#recovered(sink.name, notices.length);
        this.#tellOwed(sink.name, lane);
      },
      onLost: (notices, why, error) => {
        for (const { key, state } of notices) {
          const isOver = why === 'full' && state === 'resolved';
          // Otherwise it is still owed: told when the sink takes something again, or after a restart.
          if (isOver || error?.details['blames'] === 'message') this.#book.settle(key, sink.name);
        }
        this.#dropped(sink.name, notices.length, why);
      },
    });
    return { sink, minSeverity, clusters, lane, incidents };
  }

  #pingLane(sink: PingSink): Lane<RunEnd> {
    const maxAgeMs = this.#options.pingMaxAgeMs ?? DEFAULT_PING_AGE_MS;
    return new Lane<RunEnd>({
      ...this.#laneOptions(sink.name),
      send: async ([run], signal) => {
        if (run !== undefined) await sink.ping(run, signal);
      },
      gatherMs: 0,
      oneByOne: Number.POSITIVE_INFINITY,
      worth: ({ isKept }) => (isKept ? 0 : 1),
      isStale: ({ isKept, at }) => isKept && this.#options.clock.now().getTime() - at.getTime() > maxAgeMs,
      onSent: (runs) => this.#recovered(sink.name, runs.length),
      onLost: (runs, why) => this.#dropped(sink.name, runs.length, why),
    });
  }

  #laneOptions(name: string) {
    const { queueLimit = DEFAULT_LIMIT, backoff = DEFAULT_BACKOFF } = this.#options;
    return {
      limit: queueLimit,
      backoff,
      onFailed: (error: StrongroomError, failures: number, waitMs: number | null): void => {
        this.#observe((observer) => observer.failed(name, error, waitMs));
        if (failures >= AILING_AFTER || waitMs === null) this.notify(this.#ailing(name, error));
      },
    };
  }

  #dropped(name: string, count: number, why: LostWhy): void {
    this.#observe((observer) => observer.dropped(name, count, why));
    this.#observe((observer) => observer.changed?.());
  }

  #recovered(name: string, count: number): void {
    this.#observe((observer) => observer.delivered(name, count));
    const key = ailingKey(name);
    const problem = this.#book.isOpen(key) ? this.#book.find(key) : null;
    if (problem !== null) {
      const text = `The sink ${name} takes notifications again.`;
      this.notify({ ...problem.notice, state: 'resolved', text, at: this.#options.clock.now(), fields: {} });
    }
    this.#observe((observer) => observer.changed?.());
  }

  /** What the sink did not get while it was refusing or overrun. */
  #tellOwed(name: string, lane: Lane<Notice>): void {
    const limit = this.#options.queueLimit ?? DEFAULT_LIMIT;
    for (const { notice, owed } of this.#book.entries) {
      if (lane.size >= limit) return;
      if (owed.has(name) && !lane.has(notice.key)) lane.put(notice.key, notice);
    }
  }

  #ailing(name: string, error: StrongroomError): NotifyEvent {
    return {
      key: ailingKey(name),
      cluster: null,
      state: 'open',
      severity: 'warning',
      title: `notifications do not reach the sink ${name}`,
      text: [error.message, ...(error.hint === undefined ? [] : [error.hint]), 'try: strongroom notify test'].join(
        '\n',
      ),
      at: this.#options.clock.now(),
      fields: { sink: name, code: error.code },
    };
  }

  #remindLater(): void {
    clearTimeout(this.#reminder);
    const open = [...this.#book.entries].filter(({ notice }) => notice.state !== 'resolved');
    if (open.length === 0 || this.#isClosed) return;
    const oldest = Math.min(...open.map(({ toldAt }) => toldAt.getTime()));
    const waitMs = oldest + this.#options.repeatAfterMs - this.#options.clock.now().getTime();
    this.#reminder = setTimeout(() => this.#remind(), Math.min(TIMER_LIMIT_MS, Math.max(1, waitMs)));
    // A process that has nothing else to do need not stay for this.
    this.#reminder.unref();
  }

  #remind(): void {
    const now = this.#options.clock.now();
    for (const entry of this.#book.entries) {
      const isDue = entry.toldAt.getTime() + this.#options.repeatAfterMs <= now.getTime();
      if (entry.notice.state === 'resolved' || !isDue) continue;
      entry.notice = { ...entry.notice, state: 'update', at: now };
      this.#dispatch(entry);
    }
    this.#remindLater();
    this.#observe((observer) => observer.changed?.());
  }

  #observe(tell: (observer: NotifierObserver) => void): void {
    try {
      tell(this.#options.observer);
    } catch {
      // Best effort by contract: see NotifierObserver.
    }
  }
}

function ailingKey(sink: string): string {
  return `notifications/${sink}`;
}

function concerns({ sink, minSeverity, clusters }: Line, { notice, told }: Entry): boolean {
  if (notice.key === ailingKey(sink.name)) return false;
  if (told.has(sink.name)) return true;
  if (notice.state === 'resolved') return false;
  const isOurs = notice.cluster === null || clusters === null || clusters.includes(notice.cluster);
  return isOurs && compareSeverity(notice.severity, minSeverity) >= 0;
}
