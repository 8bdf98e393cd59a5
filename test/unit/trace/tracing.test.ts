/** Traces on a real receiver: what arrives, and that no receiver, however broken, holds anything up. */

import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { SpanKind } from '@opentelemetry/api';
import { describe, expect, it } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import { createLog, type Log } from '../../../src/core/log.ts';
import { worthSampling } from '../../../src/trace/sampler.ts';
import { openTracing, type Tracing, untraced } from '../../../src/trace/tracing.ts';
import { TraceCollector } from '../../support/trace-collector.ts';

function recorder(): { log: Log; said: () => { msg: string; err?: string; collector?: string }[] } {
  const lines: string[] = [];
  const log = createLog('info', { write: (line: string) => void lines.push(line) });
  return { log, said: () => lines.map((line) => JSON.parse(line) as { msg: string }) };
}

const { log: quiet } = recorder();
const urlOf = (base: string): string => `${base}/v1/traces`;

/** A run of two stages, the second of which may fail. */
async function run(tracing: Tracing, failure?: unknown): Promise<void> {
  await tracing.inSpan('backup', { 'strongroom.cluster': 'prod' }, async (span) => {
    await tracing.inSpan('snapshot', {}, () => Promise.resolve());
    await tracing.inSpan('upload a', {}, () => (failure === undefined ? Promise.resolve() : Promise.reject(failure)));
    span.set({ 'strongroom.outcome': 'done' });
  });
}

/** How long disposing took, in milliseconds. */
async function closing(tracing: Tracing): Promise<number> {
  const begun = performance.now();
  await tracing[Symbol.asyncDispose]();
  return performance.now() - begun;
}

describe('a trace', () => {
  it('has the run at its root and the stages below it, and is there when tracing is closed', async () => {
    await using collector = await TraceCollector.start();
    const tracing = await openTracing(urlOf(collector.url), quiet);
    await run(tracing);
    await closing(tracing);
    const root = await collector.span('root', ({ parentSpanId }) => parentSpanId === '');
    expect(root).toMatchObject({
      name: 'backup',
      isFailed: false,
      attributes: { 'strongroom.cluster': 'prod', 'strongroom.outcome': 'done' },
      resource: { 'service.name': 'strongroom' },
    });
    expect(collector.below(root)).toEqual(['snapshot', 'upload a']);
    expect(collector.sink.received[0]).toMatchObject({ method: 'POST', path: '/v1/traces' });
    expect(collector.sink.received[0]?.headers['content-type']).toBe('application/json');
  });

  it('of a failed run says with what code, in the stage and in the run, and passes the failure on', async () => {
    await using collector = await TraceCollector.start();
    const tracing = await openTracing(urlOf(collector.url), quiet);
    const failure = new StrongroomError('E_STORE_FULL', 'no room in a', {
      hint: 'hint-of-it',
      details: { detail: 'detail-of-it' },
      cause: new Error('cause-with-a-secret'),
    });
    await expect(run(tracing, failure)).rejects.toBe(failure);
    await closing(tracing);
    for (const name of ['upload a', 'backup']) {
      const span = await collector.span(name, (one) => one.name === name);
      expect(span).toMatchObject({
        isFailed: true,
        message: 'no room in a',
        attributes: { 'error.type': 'E_STORE_FULL' },
      });
      expect(span.events).toEqual([
        {
          name: 'exception',
          attributes: { 'exception.type': 'E_STORE_FULL', 'exception.message': 'no room in a' },
        },
      ]);
    }
    expect(collector.text).not.toMatch(/cause-with-a-secret|detail-of-it|\.ts:/);
  });

  it('of a failure that is not ours has neither its words nor its stack', async () => {
    await using collector = await TraceCollector.start();
    const tracing = await openTracing(urlOf(collector.url), quiet);
    await expect(run(tracing, new TypeError('GET https://u:hunter2@h'))).rejects.toThrow(TypeError);
    await closing(tracing);
    expect((await collector.span('failed', ({ isFailed }) => isFailed)).attributes['error.type']).toBe('TypeError');
    expect(collector.text).not.toContain('hunter2');
  });
});

describe('a collector in trouble', () => {
  it('that is not there is told of once, holds up the end by two seconds at most, and fails nothing', async () => {
    const { log, said } = recorder();
    const tracing = await openTracing('http://user:hunter2@127.0.0.1:1/v1/traces', log);
    await run(tracing);
    expect(await closing(tracing)).toBeLessThan(4_500);
    expect(said()).toMatchObject([
      { msg: 'the collector takes no traces: they are lost', collector: 'http://127.0.0.1:1' },
    ]);
    expect(said()[0]?.err).toContain('ECONNREFUSED');
    expect(JSON.stringify(said())).not.toContain('hunter2');
  });

  it('that takes the request and never answers holds up the end by two seconds at most', async () => {
    await using collector = await TraceCollector.start('hang');
    const { log, said } = recorder();
    const tracing = await openTracing(urlOf(collector.url), log);
    await run(tracing);
    expect(await closing(tracing)).toBeLessThan(4_500);
    expect(collector.sink.received).toHaveLength(1);
    expect(said()).toMatchObject([{ msg: 'the collector takes no traces: they are lost' }]);
  });

  it('that answers one byte after the other, for ever, leaves no connection open', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
      const drip = setInterval(() => socket.write('1\r\nx\r\n'), 100);
      socket.once('close', () => clearInterval(drip));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const tracing = await openTracing(urlOf(`http://127.0.0.1:${(server.address() as AddressInfo).port}`), quiet);
    await run(tracing);
    expect(await closing(tracing)).toBeLessThan(4_500);
    const closed = once(server, 'close');
    server.close();
    await closed;
  });

  it('that refuses is told of once however often, and once more when it takes them again', async () => {
    await using collector = await TraceCollector.start({ status: 403, body: 'go away, hunter2' });
    const { log, said } = recorder();
    await using tracing = await openTracing(urlOf(collector.url), log);
    // So many spans are sent as soon as they are there.
    const batch = async (): Promise<void> => {
      const before = collector.sink.received.length;
      for (let i = 0; i < 512; i += 1) await tracing.inSpan('s', {}, () => Promise.resolve());
      await collector.sink.requests(before + 1);
    };
    await batch();
    await batch();
    collector.sink.usual = { status: 200, body: '{}' };
    await batch();
    await tracing[Symbol.asyncDispose]();
    expect(said().map(({ msg }) => msg)).toEqual([
      'the collector takes no traces: they are lost',
      'the collector takes traces again',
    ]);
    expect(JSON.stringify(said())).not.toContain('hunter2');
  });

  it('that is busy for two seconds during a run loses nothing, and nothing is told', async () => {
    await using collector = await TraceCollector.start();
    const { log, said } = recorder();
    await using tracing = await openTracing(urlOf(collector.url), log);
    collector.sink.next.push({ status: 503, headers: { 'retry-after': '2' } });
    await tracing.inSpan('backup', {}, () => Promise.resolve());
    // So many are sent as soon as they are there.
    for (let i = 1; i < 512; i += 1) await tracing.inSpan('s', {}, () => Promise.resolve());
    const [refused, taken] = await collector.sink.requests(2);
    await tracing[Symbol.asyncDispose]();
    expect(taken?.body).toBe(refused?.body);
    expect(taken?.body).toContain('backup');
    expect(said()).toEqual([]);
  });

  it.each(['collector:4318/v1/traces', 'not an address'])(
    'whose address is %s is told of, and nothing is traced',
    async (url) => {
      const { log, said } = recorder();
      expect(await openTracing(url, log)).toBe(untraced);
      expect(said()).toMatchObject([{ msg: 'runs are not traced' }]);
    },
  );
});

it('without a collector the work is done, and nothing else', async () => {
  const tracing = await openTracing(null, quiet);
  expect(tracing).toBe(untraced);
  expect(await tracing.inSpan('backup', {}, ({ traceId }) => Promise.resolve(traceId))).toBeNull();
});

it.each([
  ['getNextJob backup', SpanKind.INTERNAL, false],
  ['extendLocks backup', SpanKind.INTERNAL, false],
  ['process backup', SpanKind.CONSUMER, true],
  ['add backup.prod.backup', SpanKind.PRODUCER, true],
  ['backup', SpanKind.INTERNAL, true],
])('the span %s of kind %i is sent: %s', async (name, kind, isSent) => {
  const { ROOT_CONTEXT } = await import('@opentelemetry/api');
  const { decision } = worthSampling.shouldSample(ROOT_CONTEXT, '0af7651916cd43dd8448eb211c80319c', name, kind, {}, []);
  expect(decision === 2).toBe(isSent);
});
