import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';

/** Sends back what it gets, and ends when its peer ends. */
let echo: Server;
let echoed: Set<Socket>;
let proxy: FaultProxy;
const clients: Socket[] = [];

beforeEach(async () => {
  echoed = new Set();
  echo = createServer({ allowHalfOpen: true }, (socket) => {
    echoed.add(socket);
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  echo.listen(0, '127.0.0.1');
  await once(echo, 'listening');
  const address = echo.address();
  if (address === null || typeof address === 'string') throw new TypeError('no port');
  proxy = await startFaultProxy(`127.0.0.1:${address.port}`);
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await proxy[Symbol.asyncDispose]();
  for (const socket of echoed) socket.destroy();
  echo.close();
});

type Peer = { socket: Socket; received: () => Buffer; outcome: Promise<string> };

/** `outcome`: `end` for a clean FIN, else the code of the error. */
async function dial(): Promise<Peer> {
  const socket = connect(proxy.port, '127.0.0.1');
  clients.push(socket);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  const { promise: outcome, resolve } = Promise.withResolvers<string>();
  socket.once('end', () => resolve('end'));
  socket.once('error', (e: NodeJS.ErrnoException) => resolve(e.code ?? e.message));
  const opened = once(socket, 'connect');
  await Promise.race([opened, outcome]);
  return { socket, received: () => Buffer.concat(chunks), outcome };
}

const PAYLOAD = Buffer.alloc(300_000, 'abcdefg');

describe('pass', () => {
  test('forwards both ways, counts, and passes a half-close on', async () => {
    const peer = await dial();
    peer.socket.end(PAYLOAD);
    expect(await peer.outcome).toBe('end');
    expect(peer.received().equals(PAYLOAD)).toBe(true);
    expect(proxy.totals).toMatchObject({ connections: 1, bytesUp: PAYLOAD.length, bytesDown: PAYLOAD.length });
    await expect.poll(() => proxy.totals.open).toBe(0);
  });

  test('a target that is not there ends the connection', async () => {
    await using nowhere = await startFaultProxy('127.0.0.1:1');
    const socket = connect(nowhere.port, '127.0.0.1');
    clients.push(socket);
    await expect(once(socket, 'end')).rejects.toMatchObject({ code: 'ECONNRESET' });
  });
});

describe('refuse', () => {
  test('resets what is open, refuses what comes, and lets in again after it', async () => {
    const open = await dial();
    open.socket.write('x');
    await expect.poll(() => open.received().length).toBe(1);
    await proxy.set({ kind: 'refuse' });
    expect(await open.outcome).toBe('ECONNRESET');
    expect(await (await dial()).outcome).toBe('ECONNREFUSED');
    await proxy.set({ kind: 'pass' });
    const again = await dial();
    again.socket.end('back');
    expect(await again.outcome).toBe('end');
    expect(again.received().toString()).toBe('back');
  });
});

describe('reset and cut', () => {
  test.each(['up', 'down'] as const)('reset after N bytes %s', async (direction) => {
    await proxy.set({ kind: 'reset', afterBytes: 1000, direction });
    const peer = await dial();
    peer.socket.write(PAYLOAD);
    expect(await peer.outcome).toBe('ECONNRESET');
    expect(direction === 'up' ? proxy.totals.bytesUp : proxy.totals.bytesDown).toBe(1000);
  });

  test('cut after N bytes down is a clean end after exactly N', async () => {
    await proxy.set({ kind: 'cut', afterBytes: 1000, direction: 'down' });
    const peer = await dial();
    peer.socket.write(PAYLOAD);
    expect(await peer.outcome).toBe('end');
    expect(peer.received().equals(PAYLOAD.subarray(0, 1000))).toBe(true);
  });

  test('cut after N bytes up is a clean end for both', async () => {
    await proxy.set({ kind: 'cut', afterBytes: 1000, direction: 'up' });
    const peer = await dial();
    peer.socket.write(PAYLOAD);
    expect(await peer.outcome).toBe('end');
    expect(proxy.totals.bytesUp).toBe(1000);
    await expect.poll(() => [...echoed].every((socket) => socket.readableEnded)).toBe(true);
  });

  test('the limit counts from when it was set, on a connection that is open', async () => {
    const peer = await dial();
    peer.socket.write(PAYLOAD);
    await expect.poll(() => peer.received().length).toBe(PAYLOAD.length);
    await proxy.set({ kind: 'cut', afterBytes: 10 });
    peer.socket.write(PAYLOAD);
    expect(await peer.outcome).toBe('end');
    expect(peer.received().length).toBe(PAYLOAD.length + 10);
  });

  test('below the limit nothing happens', async () => {
    await proxy.set({ kind: 'reset', afterBytes: PAYLOAD.length + 1 });
    const peer = await dial();
    peer.socket.end(PAYLOAD);
    expect(await peer.outcome).toBe('end');
    expect(peer.received().equals(PAYLOAD)).toBe(true);
  });
});

describe('hang', () => {
  test('accepts and moves no byte until it is over, then all of them', async () => {
    await proxy.set({ kind: 'hang' });
    const peer = await dial();
    peer.socket.write('held');
    await expect.poll(() => proxy.totals.open).toBe(1);
    // By the time another connection is there, what was sent on the first would long have been echoed.
    await dial();
    await expect.poll(() => proxy.totals.open).toBe(2);
    expect(proxy.totals).toMatchObject({ bytesUp: 0, bytesDown: 0 });
    expect(peer.received().length).toBe(0);
    await proxy.set({ kind: 'pass' });
    await expect.poll(() => peer.received().toString()).toBe('held');
  });

  test('the end of a stream does not get through either', async () => {
    const peer = await dial();
    peer.socket.write('x');
    await expect.poll(() => peer.received().length).toBe(1);
    await proxy.set({ kind: 'hang' });
    peer.socket.end();
    await once(peer.socket, 'finish');
    expect([...echoed].some((socket) => socket.readableEnded)).toBe(false);
    await proxy.set({ kind: 'pass' });
    expect(await peer.outcome).toBe('end');
  });
});

describe('slow', () => {
  test('throttle holds the rate', async () => {
    await proxy.set({ kind: 'throttle', bytesPerSecond: 200_000, direction: 'down' });
    const peer = await dial();
    const started = performance.now();
    peer.socket.end(PAYLOAD.subarray(0, 100_000));
    expect(await peer.outcome).toBe('end');
    const seconds = (performance.now() - started) / 1000;
    expect(peer.received().length).toBe(100_000);
    expect(seconds).toBeGreaterThan(0.4);
  });

  test('a throttled connection is fast again as soon as the fault is gone', async () => {
    await proxy.set({ kind: 'throttle', bytesPerSecond: 10 });
    const peer = await dial();
    peer.socket.end(PAYLOAD);
    await expect.poll(() => proxy.totals.bytesUp).toBeGreaterThan(0);
    await proxy.set({ kind: 'pass' });
    expect(await peer.outcome).toBe('end');
    expect(peer.received().equals(PAYLOAD)).toBe(true);
  });

  test('delay holds each piece back', async () => {
    await proxy.set({ kind: 'delay', ms: 150 });
    const peer = await dial();
    const started = performance.now();
    peer.socket.end('x');
    expect(await peer.outcome).toBe('end');
    // Once up, once down; timers may fire a millisecond early.
    expect(performance.now() - started).toBeGreaterThan(295);
  });
});

test('disposing destroys every socket', async () => {
  const peer = await dial();
  peer.socket.write('x');
  await expect.poll(() => peer.received().length).toBe(1);
  await proxy[Symbol.asyncDispose]();
  expect(await peer.outcome).toBe('ECONNRESET');
  expect(await (await dial()).outcome).toBe('ECONNREFUSED');
});
