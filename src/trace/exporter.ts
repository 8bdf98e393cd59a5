/** To the collector. It may be down for days: that is said once, and holds up nothing. */
import { readFileSync } from 'node:fs';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';
import type { Log } from '../core/log.ts';

/** For one batch with its retries, in milliseconds. */
export type ExportLimits = { duringRun: number; atEnd: number };

export class CollectorExporter implements SpanExporter {
  readonly #duringRun: OTLPTraceExporter;
  readonly #atEnd: OTLPTraceExporter;
  readonly #agent: HttpAgent;
  readonly #log: Log;
  /** without what may stand in front of the host: a name and a password */
  readonly #where: string;
  #isAway = false;
  #isEnding = false;

  /** Headers and certificates are those of the OTEL_EXPORTER_OTLP_ variables. */
  constructor(url: URL, limits: ExportLimits, log: Log) {
    this.#agent = agentFor(url, process.env);
    // The library fixes the limit when an exporter is made.
    const within = (timeoutMillis: number): OTLPTraceExporter =>
      new OTLPTraceExporter({ url: url.href, timeoutMillis, httpAgentOptions: () => this.#agent });
    this.#duringRun = within(limits.duringRun);
    this.#atEnd = within(limits.atEnd);
    this.#where = url.origin;
    this.#log = log;
  }

  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    const exporter = this.#isEnding ? this.#atEnd : this.#duringRun;
    exporter.export(spans, (result) => {
      this.#tell(result);
      done(result);
    });
  }

  async forceFlush(): Promise<void> {
    await Promise.all([this.#duringRun.forceFlush(), this.#atEnd.forceFlush()]);
  }

  async shutdown(): Promise<void> {
    await Promise.all([this.#duringRun.shutdown(), this.#atEnd.shutdown()]);
  }

  /** What is sent from now on has the limit `atEnd`. */
  beginEnd(): void {
    this.#isEnding = true;
  }

  /** Ends every connection, and what is on its way in it. */
  breakOff(): void {
    this.#agent.destroy();
  }

  #tell({ code, error }: ExportResult): void {
    const isAway = code !== ExportResultCode.SUCCESS;
    if (isAway === this.#isAway) return;
    this.#isAway = isAway;
    const collector = this.#where;
    if (isAway) this.#log.warn({ collector, err: reasonOf(error) }, 'the collector takes no traces: they are lost');
    else this.#log.info({ collector }, 'the collector takes traces again');
  }
}

/** Our own, so that its connections can be ended. The certificates are those that the library would have taken. */
function agentFor(url: URL, env: Readonly<Record<string, string | undefined>>): HttpAgent {
  if (url.protocol !== 'https:') return new HttpAgent({ keepAlive: true });
  const file = (name: string): Buffer | undefined => {
    const path = env[`OTEL_EXPORTER_OTLP_TRACES_${name}`] || env[`OTEL_EXPORTER_OTLP_${name}`];
    return path === undefined || path === '' ? undefined : readFileSync(path);
  };
  const [ca, key, cert] = [file('CERTIFICATE'), file('CLIENT_KEY'), file('CLIENT_CERTIFICATE')];
  return new HttpsAgent({
    keepAlive: true,
    ...(ca === undefined ? {} : { ca }),
    ...(key === undefined ? {} : { key }),
    ...(cert === undefined ? {} : { cert }),
  });
}

/** In one line, and without what the collector wrote in its answer. */
function reasonOf(error: Error | undefined): string {
  if (error === undefined) return 'no reason was given';
  const code = 'code' in error ? `${String(error.code)} ` : '';
  return `${code}${error.message.split('\n')[0] ?? ''}`.trim();
}
