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
  if (tls === undefined) return onceOpen(connectTcp(where), 'connect', signal);
  const fault = await onceOpen(connectTls({ ...where, ...tls }), 'secureConnect', signal);
  // Redis without TLS waits for the end of a line that a ClientHello does not have.
  if (fault === null || !isTimeOut(fault) || !(await answersInPlainText(connectTcp(where), signal))) return fault;
  return Object.assign(new Error('it answers PING in plain text', { cause: fault }), { code: PLAIN_TEXT });
}

const TIME_OUT = 'ETIMEDOUT';
/** As node:tls calls it when the peer says so itself. */
const PLAIN_TEXT = 'ERR_SSL_WRONG_VERSION_NUMBER';

function isTimeOut(e: Error): boolean {
  return 'code' in e && e.code === TIME_OUT;
}

async function onceOpen(
  socket: Socket,
  event: 'connect' | 'secureConnect',
  signal: AbortSignal,
): Promise<Error | null> {
  return settled(socket, signal, (done) => socket.once(event, () => done(null)));
}

async function answersInPlainText(socket: Socket, signal: AbortSignal): Promise<boolean> {
  const fault = await settled(socket, signal, (done) => {
    socket.once('connect', () => socket.write('PING\r\n'));
    // Whatever it answers, NOAUTH too: it is Redis, and not TLS.
    socket.once('data', (said: Buffer) => done(/^[+-]/.test(said.toString('latin1')) ? null : new Error('not Redis')));
  });
  return fault === null && !signal.aborted;
}

/** What `watch` settles with, or the socket's error, or a time-out; null on abort. The socket is gone afterwards. */
async function settled(
  socket: Socket,
  signal: AbortSignal,
  watch: (done: (fault: Error | null) => void) => void,
): Promise<Error | null> {
  const done = Promise.withResolvers<Error | null>();
  const onAbort = (): void => done.resolve(null);
  signal.addEventListener('abort', onAbort, { once: true });
  socket.setTimeout(CONNECT_MS, () => {
    done.resolve(Object.assign(new Error(`no connection within ${CONNECT_MS} ms`), { code: TIME_OUT }));
  });
  socket.once('error', done.resolve);
  watch(done.resolve);
  try {
    return await done.promise;
  } finally {
    signal.removeEventListener('abort', onAbort);
    socket.on('error', () => undefined).destroy();
  }
}
