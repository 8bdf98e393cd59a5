/** The port of traces. OpenTelemetry itself is loaded where there is a collector, and nowhere else. */
import type { Telemetry } from 'bullmq';
import type { Log } from '../core/log.ts';

export type SpanAttributes = Readonly<Record<string, string | number | boolean>>;

export type RunSpan = {
  /** null = nobody collects it */
  traceId: string | null;
  set(attributes: SpanAttributes): void;
};

/** Does `work` in a span below the one around it, and settles as it does; a failure is put on record in the span. */
export type InSpan = <T>(name: string, attributes: SpanAttributes, work: (span: RunSpan) => Promise<T>) => Promise<T>;

/**
 * Nothing of it ever fails a run, and disposing it takes two seconds at most, whatever the collector does; the process may live for
 * three more where a batch was on its way already.
 */
export type Tracing = AsyncDisposable & {
  readonly inSpan: InSpan;
  /** for queues and workers of BullMQ; null = they are not traced */
  readonly telemetry: Telemetry | null;
};

const NO_SPAN: RunSpan = { traceId: null, set: () => undefined };

export const untraced: Tracing = {
  inSpan: (_name, _attributes, work) => work(NO_SPAN),
  telemetry: null,
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

/** Traces that go to `url`; null = nowhere. Never rejects: what stands in the way is logged, and nothing is traced then. */
export async function openTracing(url: string | null, log: Log): Promise<Tracing> {
  if (url === null) return untraced;
  try {
    const { OtelTracing } = await import('./otel.ts');
    return new OtelTracing(url, log);
  } catch (e) {
    log.warn({ err: String(e) }, 'runs are not traced');
    return untraced;
  }
}
