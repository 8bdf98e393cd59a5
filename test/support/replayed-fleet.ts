/**
 * Many clusters of one active node each, in one process: a port for each, and one server behind all of them. They answer as
 * {@link startReplayedNode} does, and give one archive that a real server wrote as the snapshot of every one.
 */
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { answersOf, SNAPSHOT } from './replayed-node.ts';

export type ReplayedFleet = AsyncDisposable & {
  /** one for each cluster */
  urls: readonly string[];
  /** requests answered so far, snapshots among them */
  readonly requests: number;
  /** snapshots given out so far */
  readonly snapshots: number;
  /** Snapshots that are asked for from now on are given when the returned object is disposed. */
  hold: () => Disposable;
};

/** Listens on `clusters` free ports of 127.0.0.1. Disposing cuts all connections. */
export async function startReplayedFleet(clusters: number, archive: Uint8Array): Promise<ReplayedFleet> {
  const count = { requests: 0, snapshots: 0 };
  const sockets = new Set<Socket>();
  let held = Promise.resolve();
  const http = createHttpServer((incoming, response) => {
    incoming.resume();
    count.requests += 1;
    const path = incoming.url ?? '';
    if (incoming.method === 'GET' && path === SNAPSHOT) {
      count.snapshots += 1;
      void held.then(() => response.writeHead(200, { 'content-type': 'application/gzip' }).end(archive));
      return;
    }
    const { status, body } = answersOf('openbao')[path] ?? { status: 404, body: { errors: [] } };
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  const doors: Server[] = [];
  for (let index = 0; index < clusters; index += 1) {
    const door = createServer((socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      http.emit('connection', socket);
    });
    door.listen(0, '127.0.0.1');
    await once(door, 'listening');
    doors.push(door);
  }
  return {
    urls: doors.map((door) => `http://127.0.0.1:${(door.address() as AddressInfo).port}`),
    get requests() {
      return count.requests;
    },
    get snapshots() {
      return count.snapshots;
    },
    hold: () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      held = promise;
      return {
        [Symbol.dispose]: () => {
          held = Promise.resolve();
          resolve();
        },
      };
    },
    [Symbol.asyncDispose]: async () => {
      const closed = doors.map((door) => once(door, 'close'));
      for (const door of doors) door.close();
      for (const socket of sockets) socket.destroy();
      await Promise.all(closed);
    },
  };
}
