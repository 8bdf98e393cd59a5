import type { Socket } from 'node:net';

/**
 * Ends a connection with RST, so that the peer sees ECONNRESET. One that is still connecting, or whose FIN is on its
 * way at this moment, is closed instead: `uv_tcp_close_reset` refuses the latter with EINVAL, and Node then never closes
 * the handle.
 */
export function resetSocket(socket: Socket): void {
  const isEnding = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0;
  if (socket.connecting || isEnding) socket.destroy();
  else socket.resetAndDestroy();
}
