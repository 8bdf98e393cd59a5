/**
 * Bursts, for sinks that hold an incident for each key: three hundred clusters that lose one network are one incident
 * that lists them, and it ends with the last of them.
 */
import { randomUUID } from 'node:crypto';
import { compareSeverity, type Notice, type Severity, worst } from './event.ts';
import type { Sink } from './sink.ts';
import { bodyLines, subject } from './text.ts';

type Burst = { severity: Severity; members: Set<string>; openedAt: Date };

export class Incidents {
  readonly #sink: Sink;
  readonly #bursts = new Map<string, Burst>();
  /** keys with an incident of their own */
  readonly #own = new Set<string>();
  /** kept until the burst it is for was taken: what is tried again is the same incident */
  #nextKey: string | null = null;

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  /** The burst that `key` is told in; null = it has an incident of its own. To be saved, for {@link Incidents.rejoin}. */
  burstOf(key: string): string | null {
    for (const [burst, { members }] of this.#bursts) if (members.has(key)) return burst;
    return null;
  }

  /** After a restart: `notice` was told in `burst`, or by itself. */
  rejoin(burst: string | null, notice: Notice): void {
    if (burst === null) {
      this.#own.add(notice.key);
      return;
    }
    const known = this.#bursts.get(burst) ?? { severity: 'info', members: new Set(), openedAt: notice.openedAt };
    known.severity = worst([known, notice]);
    known.members.add(notice.key);
    this.#bursts.set(burst, known);
  }

  /**
   * As `send` of the sink. Several `open` among `notices` become one incident; nothing is changed here until the sink
   * took it all, so that the same may be sent again.
   */
  async send(notices: readonly Notice[], signal: AbortSignal): Promise<void> {
    // One that opens again while its incident is still there goes on in that: nobody else would end it.
    const opened = notices.filter(({ key, state }) => state === 'open' && !this.#own.has(key));
    const joined = opened.length > 1 ? opened : [];
    const leaving: Notice[] = [];
    const told: Notice[] = [];
    for (const notice of notices) {
      if (joined.includes(notice)) continue;
      const burst = this.#bursts.get(this.burstOf(notice.key) ?? '');
      if (burst === undefined) told.push(notice);
      else if (notice.state === 'resolved') leaving.push(notice);
      // Worse than what somebody was called for: that is an incident of its own.
      else if (compareSeverity(notice.severity, burst.severity) > 0) {
        leaving.push(notice);
        told.push(notice);
      }
    }
    this.#nextKey ??= `burst/${randomUUID()}`;
    const key = this.#nextKey;
    if (joined.length > 0) told.unshift(digest(key, joined));
    // One that opens again inside another burst has left the first.
    const ended = this.#emptiedBy([...leaving, ...joined]);
    const last = notices.at(-1);
    const ends = last === undefined ? [] : ended.map((burst) => this.#ending(burst, last));
    await this.#sink.send([...told, ...ends], signal);
    for (const notice of [...leaving, ...joined]) this.#leave(notice.key);
    for (const { key, state } of told) {
      if (state === 'resolved') this.#own.delete(key);
      else if (key !== this.#nextKey) this.#own.add(key);
    }
    for (const notice of joined) this.rejoin(key, notice);
    if (joined.length > 0) this.#nextKey = null;
  }

  #emptiedBy(leaving: readonly Notice[]): string[] {
    const keys = new Set(leaving.map(({ key }) => key));
    return [...this.#bursts].flatMap(([burst, { members }]) =>
      [...members].every((key) => keys.has(key)) ? [burst] : [],
    );
  }

  #ending(burst: string, { at }: Notice): Notice {
    const { severity, openedAt } = this.#bursts.get(burst) ?? { severity: 'info', openedAt: at };
    const [title, text] = ['all of them are resolved', ''];
    return { key: burst, cluster: null, state: 'resolved', severity, title, text, at, openedAt, fields: {} };
  }

  #leave(key: string): void {
    for (const [burst, { members }] of this.#bursts) {
      members.delete(key);
      if (members.size === 0) this.#bursts.delete(burst);
    }
  }
}

function digest(key: string, notices: readonly Notice[]): Notice {
  const [first] = notices;
  const at = first?.at ?? new Date(0);
  return {
    key,
    cluster: null,
    state: 'open',
    severity: worst(notices),
    title: subject(notices).replace(/^[A-Z]+ /, ''),
    text: bodyLines(notices).join('\n'),
    at,
    openedAt: at,
    fields: { keys: notices.map((notice) => notice.key).join(' ') },
  };
}
