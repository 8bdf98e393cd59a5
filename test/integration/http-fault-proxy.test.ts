import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type HttpFaultProxy, startHttpFaultProxy } from '../support/http-fault-proxy.ts';
import { http } from '../support/http-json.ts';

const BODY = Buffer.alloc(100_000, 'snapshot');
let server: Server;
let proxy: HttpFaultProxy;
let written: string[];

beforeEach(async () => {
  written = [];
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += String(chunk);
    });
    request.on('end', () => {
      if (request.method === 'PUT') written.push(body);
      response.writeHead(200, { 'content-length': BODY.length, 'x-from': 'server' }).end(BODY);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  proxy = await startHttpFaultProxy(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

afterEach(async () => {
  await proxy[Symbol.asyncDispose]();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

test('passes everything on without a rule', async () => {
  const answer = await http(`${proxy.url}/a?b=1`, { method: 'PUT', body: Buffer.from('sent') });
  expect(answer).toMatchObject({ status: 200, headers: { 'x-from': 'server' } });
  expect(answer.body.equals(BODY)).toBe(true);
  expect(written).toEqual(['sent']);
  expect(proxy.requests).toEqual(['PUT /a?b=1']);
});

test('truncate ends the body early, and cleanly', async () => {
  using rule = proxy.rule({ path: /snapshot/, fault: { kind: 'truncate', afterBytes: 70_001 } });
  const answer = await http(`${proxy.url}/snapshot`);
  expect(answer.status).toBe(200);
  expect(answer.body.equals(BODY.subarray(0, 70_001))).toBe(true);
  expect((await http(`${proxy.url}/other`)).body.length).toBe(BODY.length);
  expect(rule.hits).toBe(1);
});

test('flip changes one bit', async () => {
  proxy.rule({ fault: { kind: 'flip', atByte: 77_777 } });
  const { body } = await http(proxy.url);
  expect([...body.keys()].filter((i) => body[i] !== BODY[i])).toEqual([77_777]);
});

test('an answer of the proxy never reaches the server; it is given as often as told', async () => {
  proxy.rule({ method: 'PUT', times: 1, fault: { kind: 'answer', status: 503, body: 'SlowDown' } });
  expect(await http(proxy.url, { method: 'PUT', body: Buffer.from('1') })).toMatchObject({ status: 503 });
  expect(await http(proxy.url, { method: 'PUT', body: Buffer.from('2') })).toMatchObject({ status: 200 });
  expect(written).toEqual(['2']);
});

test('a lost answer is lost after the server has acted', async () => {
  proxy.rule({ fault: { kind: 'lose-answer' } });
  await expect(http(proxy.url, { method: 'PUT', body: Buffer.from('done') })).rejects.toMatchObject({
    code: 'ECONNRESET',
  });
  expect(written).toEqual(['done']);
});

test('delay holds the request back', async () => {
  proxy.rule({ fault: { kind: 'delay', ms: 150 } });
  const started = performance.now();
  expect((await http(proxy.url)).status).toBe(200);
  expect(performance.now() - started).toBeGreaterThan(145);
});

test('a client that goes away during the delay has asked nothing', async () => {
  proxy.rule({ fault: { kind: 'delay', ms: 60_000 } });
  const asked = http(proxy.url, { method: 'PUT', body: Buffer.from('given up'), timeoutMs: 100 });
  await expect(asked).rejects.toThrow();
  proxy.clear();
  expect((await http(proxy.url, { method: 'PUT', body: Buffer.from('next') })).status).toBe(200);
  expect(written).toEqual(['next']);
});

test('an answer is held back after the server has acted, until the client gives up', async () => {
  proxy.rule({ fault: { kind: 'hold-answer' } });
  const asked = http(proxy.url, { method: 'PUT', body: Buffer.from('done'), timeoutMs: 500 });
  await expect(asked).rejects.toThrow();
  expect(written).toEqual(['done']);
});

test('a rule can let the first ones through', async () => {
  using rule = proxy.rule({ after: 2, times: 1, fault: { kind: 'answer', status: 503 } });
  const statuses: number[] = [];
  for (let i = 0; i < 4; i += 1) statuses.push((await http(proxy.url)).status);
  expect(statuses).toEqual([200, 200, 503, 200]);
  expect(rule.hits).toBe(1);
});

test('a server that is gone is a lost connection', async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await expect(http(proxy.url)).rejects.toMatchObject({ code: 'ECONNRESET' });
});
