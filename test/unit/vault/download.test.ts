/** Bytes from a real socket: whole and in order, no faster than they are read, and cut when nobody reads on. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Client } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { download } from '../../../src/vault/download.ts';
import { until } from '../../support/until.ts';

const never = new AbortController().signal;
const CHUNK = 64 * 1024;
const CHUNKS = 1024;

let server: Server;
let client: Client;
/** what the server does with the next request */
let serve: (response: ServerResponse) => unknown;
let written = 0;
let isCut = false;

beforeAll(async () => {
  server = createServer((_request, response) => {
    written = 0;
    isCut = false;
    response.on('close', () => {
      isCut = !response.writableFinished;
    });
    serve(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  client = new Client(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
afterAll(async () => {
  await client.destroy();
  await new Promise((resolve) => server.close(resolve));
});

/** Chunk n is filled with n; as fast as the reader lets it. */
function sendAll(response: ServerResponse): void {
  while (written < CHUNKS) {
    written += 1;
    if (!response.write(Buffer.alloc(CHUNK, written - 1))) {
      response.once('drain', () => sendAll(response));
      return;
    }
  }
  response.end();
}

const get = (signal = never) => download(client, { method: 'GET', path: '/' }, signal);

async function stopped(): Promise<number> {
  let before = -1;
  const isStill = (): Promise<true | undefined> => {
    const still = written === before ? true : undefined;
    before = written;
    return Promise.resolve(still);
  };
  await until('the server writes nothing more', isStill, { everyMs: 200 });
  return written;
}

describe('a download', () => {
  it('gives all bytes in their order, whatever comes before the headers', async () => {
    serve = (response) => {
      response.writeEarlyHints({ link: '</early>; rel=preload' });
      sendAll(response);
    };
    const { statusCode, body } = await get();
    expect(statusCode).toBe(200);
    let bytes = 0;
    for await (const chunk of body) {
      for (const at of [0, chunk.byteLength - 1]) {
        expect(chunk[at]).toBe(Math.floor((bytes + at) / CHUNK) % 256);
      }
      bytes += chunk.byteLength;
    }
    expect(bytes).toBe(CHUNK * CHUNKS);
    expect(isCut).toBe(false);
  });

  it('reads no faster than its reader, and goes on when that does', async () => {
    serve = sendAll;
    const { body } = await get();
    const chunks = body[Symbol.asyncIterator]();
    const first = await chunks.next();
    let bytes = first.done === true ? 0 : first.value.byteLength;
    // What the kernel holds for both ends is a few MiB.
    expect(await stopped()).toBeLessThan(CHUNKS / 2);
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) bytes += next.value.byteLength;
    expect(bytes).toBe(CHUNK * CHUNKS);
  });

  it('is cut when the reader stops, or never begins', async () => {
    serve = sendAll;
    for await (const chunk of (await get()).body) {
      expect(chunk.byteLength).toBeGreaterThan(0);
      break;
    }
    await until('the connection is cut', () => Promise.resolve(isCut ? true : undefined));
    const { body } = await get();
    body.destroy();
    body.destroy();
    await until('the connection is cut', () => Promise.resolve(isCut ? true : undefined));
  });

  it('ends with the reason of an abort: before it is sent, before the headers, in the middle', async () => {
    const reason = new Error('enough');
    await expect(get(AbortSignal.abort(reason))).rejects.toBe(reason);

    const asked = Promise.withResolvers<void>();
    serve = () => asked.resolve();
    const early = new AbortController();
    const waiting = get(early.signal);
    waiting.catch(() => undefined);
    await asked.promise;
    early.abort(reason);
    await expect(waiting).rejects.toBe(reason);

    serve = sendAll;
    const late = new AbortController();
    const { body } = await get(late.signal);
    const read = async (): Promise<void> => {
      for await (const chunk of body) if (chunk.byteLength > 0) late.abort(reason);
    };
    await expect(read()).rejects.toBe(reason);
    await until('the connection is cut', () => Promise.resolve(isCut ? true : undefined));
  });

  it.each(['a reset', 'an end of the stream'])('throws at %s in the middle, and does not just end', async (how) => {
    serve = (response) => {
      response.write(Buffer.alloc(CHUNK), () => {
        if (how === 'a reset') response.socket?.resetAndDestroy();
        else response.socket?.end();
      });
    };
    const read = async (): Promise<void> => {
      for await (const chunk of (await get()).body) expect(chunk.byteLength).toBeGreaterThan(0);
    };
    await expect(read()).rejects.toMatchObject({ code: how === 'a reset' ? 'ECONNRESET' : 'UND_ERR_SOCKET' });
  });
});
