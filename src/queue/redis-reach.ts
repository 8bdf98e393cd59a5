/** Why an address cannot be reached: a bare socket tells what a client library keeps to itself. */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { TlsConnect } from './redis-client.ts';
import { parseAddress } from './redis-options.ts';

const CONNECT_MS = 3_000;

/** The error of the first of `addresses` that cannot be connected to; null when each can, or on abort. Never rejects. */
export async function socketFault(
  addresses: readonly string[],
  tls: TlsConnect | undefined,
  signal: AbortSignal,
): Promise<Error | null> {
  for (const address of addresses) {
    if (signal.aborted) return null;
    const fault = await tryOne(address, tls, signal);
    if (fault !== null) return fault;
  }
  return null;
}

async function tryOne(address: string, tls: TlsConnect | undefined, signal: AbortSignal): Promise<Error | null> {
  const where = parseAddress(address);
  const done = Promise.withResolvers<Error | null>();
  const socket: Socket = tls === undefined ? connectTcp(where) : connectTls({ ...where, ...tls });
  const onAbort = (): void => done.resolve(null);
  signal.addEventListener('abort', onAbort, { once: true });
  socket.setTimeout(CONNECT_MS, () => {
    done.resolve(Object.assign(new Error(`no connection within ${CONNECT_MS} ms`), { code: 'ETIMEDOUT' }));
  });
  socket.once('error', done.resolve);
  socket.once(tls === undefined ? 'connect' : 'secureConnect', () => done.resolve(null));
  try {
    return await done.promise;
  } finally {
    signal.removeEventListener('abort', onAbort);
    socket.on('error', () => undefined).destroy();
  }
}
