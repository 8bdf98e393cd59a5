/** Values become the text that Prometheus reads. Made anew for each scrape: nothing of the last one can be left in it. */
import { Counter, Gauge, Registry } from 'prom-client';
import { StrongroomError } from '../core/errors.ts';
import { METRICS, type MetricName, type MetricSpec } from './metrics.ts';

export type Sample = { name: MetricName; labels: Readonly<Record<string, string>>; value: number };

/** Samples at `now`. A source that cannot tell something leaves it out; it never rejects for that. */
export type MetricSource = (now: Date) => readonly Sample[] | Promise<readonly Sample[]>;

/** A metric without a sample is not named at all. Throws E_BUG for labels that METRICS does not have, and for what is no number. */
export async function renderSamples(samples: readonly Sample[]): Promise<{ contentType: string; text: string }> {
  const registry = new Registry();
  const metrics = new Map<MetricName, (labels: Record<string, string>, value: number) => void>();
  for (const { name, labels, value } of samples) {
    check(name, labels, value);
    const set = metrics.get(name) ?? metricOf(name, registry);
    metrics.set(name, set);
    set({ ...labels }, value);
  }
  return { contentType: registry.contentType, text: await registry.metrics() };
}

/** Everything that `sources` tell, in their order. */
export async function collectSamples(sources: readonly MetricSource[], now: Date): Promise<Sample[]> {
  return (await Promise.all(sources.map(async (source) => await source(now)))).flat();
}

function metricOf(name: MetricName, registry: Registry): (labels: Record<string, string>, value: number) => void {
  const { help, labels, type }: MetricSpec = METRICS[name];
  const options = { name, help, labelNames: [...labels], registers: [registry] };
  if (type === 'gauge') {
    const gauge = new Gauge(options);
    return (own, value) => gauge.set(own, value);
  }
  const counter = new Counter(options);
  return (own, value) => counter.inc(own, value);
}

function check(name: MetricName, labels: Readonly<Record<string, string>>, value: number): void {
  const wanted = METRICS[name].labels.toSorted().join();
  if (Object.keys(labels).toSorted().join() === wanted && Number.isFinite(value)) return;
  throw new StrongroomError('E_BUG', `${name} has the labels ${wanted}, and a number`, {
    details: { labels, value: String(value) },
  });
}
