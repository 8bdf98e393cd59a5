/** To the collector. It may be down for days: that is said once, and holds up nothing. */
import { readFileSync } from 'node:fs';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';
import type { Log } from '../core/log.ts';

export class CollectorExporter implements SpanExporter {
  readonly #exporter: OTLPTraceExporter;
  readonly #agent: HttpAgent;
  readonly #log: Log;
  /** without what may stand in front of the host: a name and a password */
  readonly #where: string;
  #isAway = false;

  /** `timeoutMs` is for one batch with its retries. Headers and certificates are those of the OTEL_EXPORTER_OTLP_ variables. */
  constructor(url: URL, timeoutMs: number, log: Log) {
    this.#agent = agentFor(url, process.env);
    this.#exporter = new OTLPTraceExporter({
      url: url.href,
      timeoutMillis: timeoutMs,
      httpAgentOptions: () => this.#agent,
    });
    this.#where = url.origin;
    this.#log = log;
  }

  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    this.#exporter.export(spans, (result) => {
      this.#tell(result);
      done(result);
    });
  }

  async forceFlush(): Promise<void> {
    await this.#exporter.forceFlush();
  }

  async shutdown(): Promise<void> {
    await this.#exporter.shutdown();
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
