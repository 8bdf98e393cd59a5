/** Runs as traces of OpenTelemetry, sent by OTLP over HTTP as JSON. */
import { setTimeout as delay } from 'node:timers/promises';
import { context, propagation, ROOT_CONTEXT, type Span, SpanStatusCode, type Tracer, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import type { Telemetry } from 'bullmq';
import { BullMQOtel } from 'bullmq-otel';
import { isError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { TOOL_VERSION } from '../version.ts';
import { CollectorExporter } from './exporter.ts';
import { worthSampling } from './sampler.ts';
import type { RunSpan, SpanAttributes, Tracing } from './tracing.ts';

/**
 * During a run a collector may be slow, or away for a moment. At the end it is less than the flush, so that a failure is still told. In
 * milliseconds.
 */
const EXPORT_MS = { duringRun: 5_000, atEnd: 1_500 };
/** What is not sent by then is lost, and nobody waits for it, in milliseconds. */
const FLUSH_MS = 2_000;

/** One of them at a time in a process: BullMQ's spans find it by the globals of the API. The owner disposes it. */
export class OtelTracing implements Tracing {
  readonly telemetry: Telemetry;
  readonly #exporter: CollectorExporter;
  readonly #provider: TracerProvider;
  readonly #tracer: Tracer;

  /** Throws a TypeError where `url` is no address. Opens no connection yet. */
  constructor(url: string, log: Log) {
    const address = new URL(url);
    // "collector:4318" is an address, too: of the scheme "collector".
    if (!/^https?:$/.test(address.protocol))
      throw new TypeError('the address of the collector is not http:// or https://');
    this.#exporter = new CollectorExporter(address, EXPORT_MS, log);
    const named = resourceFromAttributes({ 'service.name': 'strongroom', 'service.version': TOOL_VERSION });
    this.#provider = new TracerProvider({
      // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before ours.
      resource: defaultResource()
        .merge(named)
        .merge(detectResources({ detectors: [envDetector] })),
      sampler: worthSampling,
      spanProcessors: [new BatchSpanProcessor({ exporter: this.#exporter })],
    });
    this.#tracer = this.#provider.getTracer('strongroom', TOOL_VERSION);
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
    trace.setGlobalTracerProvider(this.#provider);
    this.telemetry = queueTelemetry();
  }

  async inSpan<T>(name: string, attributes: SpanAttributes, work: (span: RunSpan) => Promise<T>): Promise<T> {
    return await this.#tracer.startActiveSpan(name, { attributes }, async (span) => {
      try {
        const { traceId } = span.spanContext();
        return await work({ traceId, set: (more) => void span.setAttributes(more) });
      } catch (e) {
        putFailure(span, e);
        throw e;
      } finally {
        span.end();
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const over = new AbortController();
    this.#exporter.beginEnd();
    const sent = this.#provider.shutdown().catch(() => undefined);
    const late = delay(FLUSH_MS, undefined, { signal: over.signal }).catch(() => undefined);
    await Promise.race([sent, late]);
    over.abort();
    // A collector that still says nothing would keep the process from ending.
    this.#exporter.breakOff();
    trace.disable();
    propagation.disable();
    context.disable();
  }
}

/** Code and message, as the log has them. Neither stack nor causes: those are of other libraries, which promise nothing. */
function putFailure(span: Span, e: unknown): void {
  const type = isError(e) ? e.code : e instanceof Error ? e.name : 'Error';
  const message = isError(e) ? e.message : '';
  span.setStatus({ code: SpanStatusCode.ERROR, message });
  span.setAttribute('error.type', type);
  span.addEvent('exception', { 'exception.type': type, 'exception.message': message });
}

/** BullMQ's loops never end: without a root for each round, all of them would be one trace. */
function queueTelemetry(): Telemetry {
  const { tracer, contextManager } = new BullMQOtel({ tracerName: 'bullmq' });
  return { tracer, contextManager: Object.assign(contextManager, { root: () => ROOT_CONTEXT }) };
}
