/** TLS in front of a server that has none, with whatever certificate and protocol a test wants. */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { createServer, type TlsOptions } from 'node:tls';
import type { Certificate } from './pki.ts';

export type TlsFront = AsyncDisposable & {
  /** https://127.0.0.1:port */
  url: string;
  /** accepted so far, those whose handshake failed included */
  readonly connections: number;
  /** handshakes that were completed so far: what came after them could have been read by whoever has the key */
  readonly secured: number;
};

/** Listens on a free port of 127.0.0.1 and passes what it decrypts to `target`, an `http:` URL. Disposing cuts everything. */
export async function startTlsFront(
  target: string,
  certificate: Certificate,
  options: Pick<TlsOptions, 'minVersion' | 'maxVersion' | 'ciphers'> = {},
): Promise<TlsFront> {
  const { hostname, port } = new URL(target);
  const [cert, key] = await Promise.all([readFile(certificate.certFile), readFile(certificate.keyFile)]);
  const sockets = new Set<Socket>();
  let connections = 0;
  let secured = 0;
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  };
  const server = createServer({ cert, key, ...options }, (client) => {
    secured += 1;
    const upstream = connect(Number(port), hostname);
    keep(upstream);
    client.on('error', () => upstream.destroy()).once('close', () => upstream.destroy());
    upstream.on('error', () => client.destroy()).once('close', () => client.destroy());
    client.pipe(upstream);
    upstream.pipe(client);
  });
  server.on('connection', (socket: Socket) => {
    connections += 1;
    keep(socket);
  });
  // A client that refuses the certificate: its own words are what a test looks at.
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get connections() {
      return connections;
    },
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

/** A server that never heard of TLS 1.2; OpenSSL lets it exist at security level 0 only. */
export const OLD_TLS = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
