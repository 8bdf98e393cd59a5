/** What became of notifications since the process started, told by the notifier; and what waits, asked at each scrape. */
import type { Sample } from './exposition.ts';
import type { NOTIFY_METRICS } from './metrics.ts';

type Counter = Extract<keyof typeof NOTIFY_METRICS, `${string}_total`>;

/** Why something was not told; as the lanes of the notifier say it. */
export const DROPPED_WHY = ['refused', 'full', 'stale', 'closed'] as const;

export type NotifyMetricsOptions = {
  /** how many wait, by the name of each configured sink */
  waiting(): Readonly<Record<string, number>>;
  /** problems that are open as far as is known here */
  open(): number;
};

/** An observer of the notifier whose `samples` are a source for the exposition. */
export class NotifyMetrics {
  readonly #options: NotifyMetricsOptions;
  readonly #counts = new Map<string, { name: Counter; labels: Readonly<Record<string, string>>; value: number }>();
  /** by sink: did it take what it was sent last? */
  readonly #isUp = new Map<string, boolean>();

  constructor(options: NotifyMetricsOptions) {
    this.#options = options;
  }

  delivered(sink: string, events: number): void {
    this.#isUp.set(sink, true);
    this.#count('strongroom_notify_delivered_total', { sink }, events);
  }

  failed(sink: string): void {
    this.#isUp.set(sink, false);
    this.#count('strongroom_notify_failures_total', { sink }, 1);
  }

  dropped(sink: string, events: number, why: (typeof DROPPED_WHY)[number]): void {
    this.#count('strongroom_notify_dropped_total', { sink, why }, events);
  }

  /** Counters of a configured sink are there from the start: a first failure must be seen as a step from zero. */
  samples(): Sample[] {
    const waiting = this.#options.waiting();
    for (const sink of Object.keys(waiting)) {
      this.#count('strongroom_notify_delivered_total', { sink }, 0);
      this.#count('strongroom_notify_failures_total', { sink }, 0);
      for (const why of DROPPED_WHY) this.#count('strongroom_notify_dropped_total', { sink, why }, 0);
    }
    // Of a sink that is not in the config any more nobody wants an alert.
    const ups = [...this.#isUp].filter(([sink]) => sink in waiting);
    return [
      ...this.#counts.values(),
      ...ups.map(([sink, isUp]): Sample => ({ name: 'strongroom_notify_up', labels: { sink }, value: isUp ? 1 : 0 })),
      ...Object.entries(waiting).map(
        ([sink, value]): Sample => ({ name: 'strongroom_notify_waiting', labels: { sink }, value }),
      ),
      { name: 'strongroom_problems_open', labels: {}, value: this.#options.open() },
    ];
  }

  #count(name: Counter, labels: Readonly<Record<string, string>>, by: number): void {
    const key = `${name} ${Object.values(labels).join(' ')}`;
    const counted = this.#counts.get(key) ?? { name, labels, value: 0 };
    counted.value += by;
    this.#counts.set(key, counted);
  }
}
