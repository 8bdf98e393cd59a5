/** An HTTP server that gives prepared answers: for what only a server that is not here would say, and for misbehaviour. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type SeenRequest = { method: string; path: string; headers: IncomingMessage['headers']; body: string };

export type Replay = AsyncDisposable & {
  url: string;
  /** every request, in the order of arrival */
  seen: readonly SeenRequest[];
};

export type ReplayAnswer = {
  status: number;
  headers?: Record<string, string>;
  /** strings go out as they are, everything else as JSON */
  body?: unknown;
};

/** Given the request with its whole body: an answer, or null when the handler has answered by itself. */
export type ReplayHandler = (
  request: SeenRequest,
  response: ServerResponse,
) => ReplayAnswer | null | Promise<ReplayAnswer | null>;

/** Listens on a free port of 127.0.0.1. Disposing cuts all connections. */
export async function startReplay(handler: ReplayHandler): Promise<Replay> {
  const seen: SeenRequest[] = [];
  const serve = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
    const request = {
      method: incoming.method ?? '',
      path: incoming.url ?? '',
      headers: incoming.headers,
      body: Buffer.concat(chunks).toString('utf8'),
    };
    seen.push(request);
    const answer = await handler(request, response);
    if (answer === null) return;
    const isText = typeof answer.body === 'string' || answer.body === undefined;
    const type = isText ? 'text/plain' : 'application/json';
    response.writeHead(answer.status, { 'content-type': type, ...answer.headers });
    response.end(isText ? answer.body : JSON.stringify(answer.body));
  };
  const server = createServer((incoming, response) => {
    serve(incoming, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
