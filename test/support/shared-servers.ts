/**
 * One VersityGW and one LocalStack for a whole test run. The main process owns them and starts each when the first
 * test asks; a worker asks over HTTP, because `provide` carries only what is known before the first test.
 */

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inject } from 'vitest';
import { z } from 'zod';
import { type S3Connection, type S3Server, s3Server } from './s3-connection.ts';
import { type RunningS3, startLocalStack, startVersityGw } from './s3-servers.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** where workers ask for a server */
    servers: string;
    /** why there is no LocalStack, or '' */
    localStackMissing: string;
  }
}

const STARTERS = { versitygw: startVersityGw, localstack: startLocalStack } as const;
export type SharedName = keyof typeof STARTERS;

const connection = z.object({
  endpoint: z.string(),
  region: z.string(),
  accessKeyId: z.string(),
  secretAccessKey: z.string(),
  pid: z.number(),
});

/**
 * For tests: the shared server, started now if no test asked before. Make a bucket of your own; leave the process
 * alone (start one with `s3-servers.ts` to pause or kill it).
 *
 * @throws Error with the server's log when it does not start
 */
export async function sharedServer(name: SharedName): Promise<S3Server> {
  const response = await fetch(`${inject('servers')}/${name}`);
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return s3Server(connection.parse(JSON.parse(text)));
}

/** For the main process: answers `sharedServer`. Disposing ends every server it started. */
export class ServerDesk implements AsyncDisposable {
  readonly #started = new Map<SharedName, Promise<RunningS3>>();
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async open(): Promise<ServerDesk> {
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    const desk = new ServerDesk(server);
    server.on('request', (request, response) => {
      void desk.#answer(request.url ?? '').then(({ status, body }) => {
        response.writeHead(status, { connection: 'close' }).end(body);
      });
    });
    return desk;
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `http://127.0.0.1:${port}`;
  }

  async #answer(url: string): Promise<{ status: number; body: string }> {
    const name = url.slice(1);
    if (!isSharedName(name)) return { status: 404, body: `no shared server ${name}` };
    const starting = this.#started.get(name) ?? STARTERS[name]();
    this.#started.set(name, starting);
    try {
      const { endpoint, region, accessKeyId, secretAccessKey, pid } = await starting;
      const answer: S3Connection = { endpoint, region, accessKeyId, secretAccessKey, pid };
      return { status: 200, body: JSON.stringify(answer) };
    } catch (error) {
      return { status: 500, body: error instanceof Error ? error.message : String(error) };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    for (const starting of this.#started.values()) {
      const server = await starting.catch(() => undefined);
      await server?.[Symbol.asyncDispose]();
    }
  }
}

function isSharedName(name: string): name is SharedName {
  return Object.hasOwn(STARTERS, name);
}
