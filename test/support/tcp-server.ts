/** Sockets that misbehave on purpose, below HTTP. */
import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';
import { resetSocket } from './reset-socket.ts';

export type TcpServer = AsyncDisposable & { port: number; url: string; connections: ReadonlySet<Socket> };

/** Listens on a free port of 127.0.0.1. Disposing destroys all connections. */
export async function startTcp(onConnection: (socket: Socket) => void): Promise<TcpServer> {
  const connections = new Set<Socket>();
  const server = createServer((socket) => {
    connections.add(socket);
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    url: `http://127.0.0.1:${address.port}`,
    connections,
    [Symbol.asyncDispose]: async () => {
      for (const socket of connections) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A proxy to `target` that resets the client's connection once more than so many bytes went forth on it. */
export function cuttingProxy(target: string, { upAfter }: { upAfter?: number }): Promise<TcpServer> {
  return startTcp((client) => {
    const upstream = createConnection(Number(new URL(target).port), '127.0.0.1');
    const end = (): void => {
      resetSocket(client);
      upstream.destroy();
    };
    let up = 0;
    upstream.on('data', (chunk: Buffer) => client.write(chunk));
    client.on('data', (chunk: Buffer) => {
      up += chunk.length;
      if (upAfter !== undefined && up > upAfter) end();
      else upstream.write(chunk);
    });
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end);
  });
}
