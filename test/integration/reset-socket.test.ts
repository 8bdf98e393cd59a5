import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { resetSocket } from '../support/reset-socket.ts';
import { startTcp, type TcpServer } from '../support/tcp-server.ts';

let server: TcpServer;
let peer: Promise<Socket>;
let socket: Socket;

beforeEach(async () => {
  const { promise, resolve } = Promise.withResolvers<Socket>();
  peer = promise;
  server = await startTcp(resolve);
  socket = createConnection({ port: server.port, host: '127.0.0.1', allowHalfOpen: true });
});
afterEach(() => server[Symbol.asyncDispose]());

it('is seen by the peer as a reset', async () => {
  await once(socket, 'connect');
  const failed = once(await peer, 'error');
  resetSocket(socket);
  expect((await failed)[0]).toMatchObject({ code: 'ECONNRESET' });
});

it('closes a socket whose end is on its way', async () => {
  await once(socket, 'connect');
  const closed = once(socket, 'close');
  socket.end();
  resetSocket(socket);
  await closed;
});

it('closes a socket that is still connecting', async () => {
  const closed = once(socket, 'close');
  resetSocket(socket);
  await closed;
});
