import { describe, expect, it } from 'vitest';
import { traceUrl } from '../../../src/config/tracing.ts';
import { complaints, parse, SAMPLE } from './sample.ts';

const tracing = (block: string): string => `${SAMPLE}tracing: ${block}\n`;

describe('the tracing block', () => {
  it('may be left out: nothing is traced', () => {
    expect(parse(SAMPLE).tracing).toEqual({});
    expect(traceUrl(parse(SAMPLE).tracing, {})).toBeNull();
  });

  it.each(['http://otel-collector:4318', 'https://otlp.example.org/tenant/otlp', 'http://[::1]:4318'])(
    'takes %s',
    (endpoint) => {
      expect(traceUrl(parse(tracing(`{ endpoint: "${endpoint}" }`)).tracing, {})).toBe(`${endpoint}/v1/traces`);
    },
  );

  it.each(['otel-collector:4318', 'grpc://otel:4317', 'http://user:pw@otel:4318', 'http://otel:4318?key=1', '4318'])(
    'refuses %s, and says what to write instead',
    (endpoint) => {
      expect(complaints(tracing(`{ endpoint: "${endpoint}" }`))).toEqual([
        expect.stringMatching(/^\d+:\d+ tracing\.endpoint: not the address of a collector; write http:\/\/host:4318/),
      ]);
    },
  );
});

describe('the log block', () => {
  it('writes JSON unless it says otherwise', () => {
    expect(parse(SAMPLE).log).toEqual({ level: 'info', format: 'json' });
    expect(parse(`${SAMPLE}log: { format: pretty }\n`).log.format).toBe('pretty');
    expect(complaints(`${SAMPLE}log: { format: text }\n`)).toEqual([expect.stringMatching(/^\d+:\d+ log\.format: /)]);
  });
});

describe('the environment goes before the config', () => {
  const configured = { endpoint: 'http://configured:4318/' };
  it.each([
    [{}, 'http://configured:4318/v1/traces'],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://env:4318/' }, 'http://env:4318/v1/traces'],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: '' }, 'http://configured:4318/v1/traces'],
    [
      { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://env:4318', OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://t:1/x' },
      'http://t:1/x',
    ],
    [{ OTEL_SDK_DISABLED: 'TRUE', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://env:4318' }, null],
    [{ OTEL_TRACES_EXPORTER: 'none' }, null],
  ])('%j', (env, url) => {
    expect(traceUrl(configured, env)).toBe(url);
  });
});
