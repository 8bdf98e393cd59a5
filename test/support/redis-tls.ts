/**
 * TLS for a server that was built without it. The port also takes plain text and passes it on: replicas, sentinels and
 * nodes of a cluster talk to each other at the addresses that they announce to clients.
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Certificate } from './pki.ts';

export type RedisTls = {
  certificate: Certificate;
  /** PEM of the authority whose clients alone are let in; absent = no client certificate is asked for */
  clientCa?: string;
};

export type RedisFront = AsyncDisposable & {
  /** handshakes that were completed so far */
  readonly secured: number;
};

/** The first byte of every TLS record of a handshake; no command of Redis begins with it. */
const HANDSHAKE = 0x16;

/** Listens on `port` of 127.0.0.1 and passes on to `target`. Disposing cuts everything. */
export async function startRedisFront(port: number, target: number, tls: RedisTls): Promise<RedisFront> {
  const [cert, key] = await Promise.all([readFile(tls.certificate.certFile), readFile(tls.certificate.keyFile)]);
  const sockets = new Set<Socket>();
  let secured = 0;
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy()).once('close', () => sockets.delete(socket));
  };
  const join = (client: Socket): void => {
    const upstream = connect(target, '127.0.0.1');
    keep(upstream);
    client.on('error', () => upstream.destroy()).once('close', () => upstream.destroy());
    upstream.once('close', () => client.destroy());
    client.pipe(upstream);
    upstream.pipe(client);
  };
  const secure = createTlsServer(
    { cert, key, ...(tls.clientCa === undefined ? {} : { ca: tls.clientCa, requestCert: true }) },
    (client) => {
      secured += 1;
      join(client);
    },
  );
  // A client that refuses the certificate: its own words are what a test looks at.
  secure.on('tlsClientError', () => undefined);
  const server = createServer((client) => {
    keep(client);
    client.once('data', (first: Buffer) => {
      client.pause();
      client.unshift(first);
      if (first[0] === HANDSHAKE) secure.emit('connection', client);
      else join(client);
    });
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    get secured() {
      return secured;
    },
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
