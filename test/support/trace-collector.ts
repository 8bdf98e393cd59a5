/** A collector of traces: a real OTLP/HTTP receiver that understands the JSON form. */
import { type SinkAnswer, type SinkServer, startSinkServer } from './sink-server.ts';
import { until } from './until.ts';

export type SeenSpan = {
  name: string;
  traceId: string;
  spanId: string;
  /** '' = it is the root */
  parentSpanId: string;
  attributes: Record<string, string | number | boolean>;
  isFailed: boolean;
  message: string;
  events: { name: string; attributes: Record<string, string | number | boolean> }[];
  ms: number;
  /** of the process that sent it */
  resource: Record<string, string | number | boolean>;
};

type Pair = { key: string; value: { stringValue?: string; intValue?: number | string; boolValue?: boolean } };
type Sent = {
  resourceSpans: {
    resource: { attributes: Pair[] };
    scopeSpans: {
      spans: {
        name: string;
        traceId: string;
        spanId: string;
        parentSpanId?: string;
        attributes?: Pair[];
        status?: { code?: number; message?: string };
        events?: { name: string; attributes?: Pair[] }[];
        startTimeUnixNano: string;
        endTimeUnixNano: string;
      }[];
    }[];
  }[];
};

/** The caller disposes it. */
export class TraceCollector implements AsyncDisposable {
  readonly sink: SinkServer;

  private constructor(sink: SinkServer) {
    this.sink = sink;
  }

  static async start(answer: SinkAnswer = { status: 200, body: '{}' }): Promise<TraceCollector> {
    return new TraceCollector(await startSinkServer(answer));
  }

  get url(): string {
    return this.sink.url;
  }

  /** All that was sent so far, as it came. */
  get text(): string {
    return this.sink.received.map(({ body }) => body).join('\n');
  }

  get spans(): SeenSpan[] {
    return this.sink.received.flatMap(({ body }) => spansOf(JSON.parse(body) as Sent));
  }

  /** The first span that fits, as soon as it is there. */
  async span(what: string, fits: (span: SeenSpan) => boolean): Promise<SeenSpan> {
    return await until(`a span: ${what}`, async () => this.spans.find(fits));
  }

  /** Names of the spans right below `parent`, in the order in which they ended. */
  below(parent: SeenSpan): string[] {
    return this.spans
      .filter(({ parentSpanId, traceId }) => parentSpanId === parent.spanId && traceId === parent.traceId)
      .map(({ name }) => name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sink[Symbol.asyncDispose]();
  }
}

function spansOf({ resourceSpans }: Sent): SeenSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => ({
        name: span.name,
        traceId: span.traceId,
        spanId: span.spanId,
        parentSpanId: span.parentSpanId ?? '',
        attributes: valuesOf(span.attributes),
        isFailed: span.status?.code === 2,
        message: span.status?.message ?? '',
        events: (span.events ?? []).map((event) => ({ name: event.name, attributes: valuesOf(event.attributes) })),
        ms: Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)) / 1e6,
        resource: valuesOf(resource.attributes),
      })),
    ),
  );
}

function valuesOf(pairs: readonly Pair[] = []): Record<string, string | number | boolean> {
  return Object.fromEntries(
    pairs.map(({ key, value }) => [key, value.stringValue ?? value.boolValue ?? Number(value.intValue)]),
  );
}
