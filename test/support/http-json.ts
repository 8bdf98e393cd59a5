/** The smallest HTTP client that shows everything: no redirects followed, no retries, no token added. */
import { request as plain } from 'node:http';
import { request as secure } from 'node:https';

export type HttpOptions = {
  method?: string;
  headers?: Record<string, string>;
  /** sent as it is when bytes, else as JSON */
  body?: unknown;
  /** PEM of the authority to trust instead of the system's */
  ca?: string | undefined;
  /** whole exchange, in milliseconds; default 10,000 */
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
};

export type HttpAnswer = {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
  /** the body when it is JSON, else undefined */
  json: unknown;
};

/**
 * One request, one answer, whatever its status. Rejects when there is no complete answer: refused, reset, cut in the
 * middle of a body of known length, over time. A chunked body that ends early but cleanly is an answer.
 */
export async function http(url: string, options: HttpOptions = {}): Promise<HttpAnswer> {
  const deadline = AbortSignal.timeout(options.timeoutMs ?? 30_000);
  const signal = options.signal === undefined ? deadline : AbortSignal.any([deadline, options.signal]);
  const body = encode(options.body);
  const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>();
  const request = url.startsWith('https:') ? secure : plain;
  const sent = request(
    url,
    {
      method: options.method ?? 'GET',
      headers: { ...options.headers, ...(body === undefined ? {} : { 'content-length': String(body.length) }) },
      signal,
      ...(options.ca === undefined ? {} : { ca: options.ca }),
    },
    (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const whole = Buffer.concat(chunks);
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: whole, json: decode(whole) });
      });
    },
  );
  sent.on('error', reject);
  sent.end(body);
  return promise;
}

function encode(body: unknown): Buffer | undefined {
  if (body === undefined) return undefined;
  if (body instanceof Uint8Array) return Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  return Buffer.from(JSON.stringify(body));
}

function decode(body: Buffer): unknown {
  // A snapshot is no JSON: do not make a string of it to find out.
  if (body[0] !== 0x7b && body[0] !== 0x5b) return undefined;
  try {
    return JSON.parse(body.toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}
