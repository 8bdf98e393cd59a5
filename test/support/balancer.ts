/** Load balancers in front of several HTTP servers: of connections, as TCP balancers are, and of requests. */
import { once } from 'node:events';
import { Agent, createServer as createHttp, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, createServer as createTcp, type Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';

/** Index of the target for the `turn`-th connection or request, counted from 0. */
export type Choice = (turn: number) => number;

export type Balancer = AsyncDisposable & {
  url: string;
  /** each request line that went to a target, as `<index> <METHOD> <path>`, oldest first */
  requests: readonly string[];
  /** from the next connection or request on; default: one after the other */
  choose: (choice: Choice) => void;
  /** cuts every connection of clients, cleanly */
  hangUp: () => void;
};

/** Each connection goes to one target and stays there. Listens on a free port; disposing destroys every socket. */
export async function balanceConnections(targets: readonly string[]): Promise<Balancer> {
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  const clients = new Set<Socket>();
  const pick = picker(targets);
  const server = createTcp((client) => {
    const { index, url } = pick.next();
    const target = connect(Number(url.port), url.hostname);
    clients.add(client);
    for (const [socket, other] of [
      [client, target],
      [target, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.once('close', () => {
        sockets.delete(socket);
        clients.delete(socket);
        other.destroy();
      });
    }
    client.on('data', (chunk: Buffer) => {
      const line = /^([A-Z]+ \S+) HTTP\/1\.1\r\n/.exec(chunk.toString('latin1', 0, 2000))?.[1];
      if (line !== undefined) requests.push(`${index} ${line}`);
    });
    client.pipe(target);
    target.pipe(client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    choose: pick.choose,
    hangUp: () => {
      for (const client of clients) client.end();
    },
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** Each request goes to the next target, whatever connection it came on; connections stay open. Otherwise the same. */
export async function balanceRequests(targets: readonly string[]): Promise<Balancer> {
  const requests: string[] = [];
  const pick = picker(targets);
  const agent = new Agent({ keepAlive: true });
  const serve = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { index, url } = pick.next();
    requests.push(`${index} ${incoming.method ?? ''} ${incoming.url ?? ''}`);
    const { connection: _, ...headers } = incoming.headers;
    const { hostname, port } = url;
    const upstream = request({ hostname, port, method: incoming.method, path: incoming.url, headers, agent });
    pipeline(incoming, upstream).catch(() => undefined);
    const [answer] = (await once(upstream, 'response')) as [IncomingMessage];
    const { connection: __, ...sent } = answer.headers;
    response.writeHead(answer.statusCode ?? 502, sent);
    await pipeline(answer, response);
  };
  const server = createHttp((incoming, response) => {
    serve(incoming, response).catch(() => incoming.socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    choose: pick.choose,
    hangUp: () => server.closeAllConnections(),
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      agent.destroy();
      await closed;
    },
  };
}

function picker(targets: readonly string[]): { next: () => { index: number; url: URL }; choose: (c: Choice) => void } {
  let choice: Choice = (turn) => turn % targets.length;
  let turn = 0;
  return {
    next: () => {
      const index = choice(turn);
      turn += 1;
      const target = targets[index];
      if (target === undefined) throw new Error(`the balancer has no target ${index}`);
      return { index, url: new URL(target) };
    },
    choose: (chosen) => {
      choice = chosen;
      turn = 0;
    },
  };
}
