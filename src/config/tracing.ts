/** The part of the schema about traces, and what the environment says about them. */
import { z } from 'zod';

const NO_ADDRESS =
  'not the address of a collector; write http://host:4318 or https://host, with a path where it has one, and without a password';

const address = () => z.string({ error: NO_ADDRESS }).refine((value) => isAddress(value), { error: NO_ADDRESS });

function isAddress(value: string): boolean {
  const url = URL.parse(value);
  return (
    url !== null &&
    (url.protocol === 'https:' || url.protocol === 'http:') &&
    url.username === '' &&
    url.password === '' &&
    url.search === '' &&
    url.hash === ''
  );
}

export const tracing = z.strictObject({
  endpoint: address()
    .exactOptional()
    .describe(
      'OTLP/HTTP collector that gets a trace of each run, such as http://otel-collector:4318; default: none. OTEL_EXPORTER_OTLP_ENDPOINT goes before it',
    ),
});

/**
 * Where the spans go: the environment before the config, as every program with OpenTelemetry reads it. null = nowhere, also by
 * OTEL_SDK_DISABLED=true and OTEL_TRACES_EXPORTER=none. What the environment says is given as it is: it may be no address.
 */
export function traceUrl(
  { endpoint }: z.output<typeof tracing>,
  env: Readonly<Record<string, string | undefined>>,
): string | null {
  if (env['OTEL_SDK_DISABLED']?.trim().toLowerCase() === 'true' || env['OTEL_TRACES_EXPORTER'] === 'none') return null;
  // Empty is as good as not set, says the specification.
  const whole = env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT']?.trim() ?? '';
  if (whole !== '') return whole;
  const base = (env['OTEL_EXPORTER_OTLP_ENDPOINT']?.trim() ?? '') || (endpoint ?? '');
  return base === '' ? null : `${base.replace(/\/+$/, '')}/v1/traces`;
}
