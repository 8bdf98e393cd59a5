/** The one way to a sink over HTTP: one request, one connection, no redirect. What is no success comes out as E_NOTIFY_…. */
import { Agent, type Dispatcher } from 'undici';
import { StrongroomError } from '../core/errors.ts';
import { describe, networkFailure, scrub, silent, type Where } from './failure.ts';
import type { HttpSinkOptions } from './sink.ts';

export type HttpRequest = {
  method: 'POST' | 'GET';
  url: string;
  headers?: Readonly<Record<string, string>>;
  body?: string;
  /** cut out of whatever the sink says, besides the URL's own parts */
  secrets: readonly string[];
};

export type HttpAnswer = { status: number; text: string };

/** Longest answer that is looked at. */
const ANSWER_LIMIT = 65_536;
/** Longest wait that a sink may ask for: one that says "tomorrow" would be forgotten. */
const RETRY_AFTER_LIMIT_MS = 15 * 60_000;

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/**
 * Resolves with the answer when its status is 2xx and all of it arrived. Rejects with E_NOTIFY_UNREACHABLE (network,
 * TLS, time-out, 5xx), E_NOTIFY_THROTTLED (429), E_NOTIFY_REFUSED (any other status) or E_CONFIG_INVALID (no URL, or
 * one that would cross the network in the clear); an abort rejects with the signal's reason.
 */
export async function exchange(
  options: HttpSinkOptions,
  request: HttpRequest,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const url = checkedUrl(request.url, options);
  const where: Where = { sink: options.name, host: url.host };
  const ca = await options.ca?.resolve(signal);
  const { timeoutMs } = options;
  const deadline = AbortSignal.timeout(timeoutMs);
  // A sink is asked now and then: a connection that is kept is one that the other side has closed by then.
  const agent = new Agent({
    pipelining: 0,
    connect: { timeout: timeoutMs, rejectUnauthorized: true, ...(ca === undefined ? {} : { ca }) },
  });
  try {
    const response = await agent.request({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method: request.method,
      headers: { 'user-agent': 'strongroom', ...request.headers },
      body: request.body ?? null,
      signal: AbortSignal.any([signal, deadline]),
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    });
    const text = await readText(response);
    const { statusCode: status } = response;
    if (status >= 200 && status < 300) return { status, text };
    throw refusal(where, status, response.headers['retry-after'], scrub(text, secretsOf(url, request)));
  } catch (e) {
    if (signal.aborted) throw signal.reason;
    throw deadline.aborted ? silent(where, timeoutMs) : networkFailure(e, where);
  } finally {
    await agent.destroy();
  }
}

function checkedUrl(text: string, { name, allowHttp }: HttpSinkOptions): URL {
  // The parser's own error repeats the text, which is a secret.
  const url = URL.parse(text.trim());
  const problem = (what: string, hint: string): StrongroomError =>
    new StrongroomError('E_CONFIG_INVALID', `notification sink ${name}: ${what}`, { hint, details: { sink: name } });
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw problem('its URL is none', 'put an address that begins with https:// where its config points to');
  }
  if (url.username !== '' || url.password !== '') {
    throw problem('its URL holds a user name or a password', 'take what stands before the @ out of it');
  }
  if (url.protocol === 'http:' && !allowHttp && !LOOPBACK.test(url.hostname)) {
    throw problem(
      `its URL would cross the network to ${url.host} in the clear`,
      'write https://; or, where it must be, dangerouslyAllowHttp: true',
    );
  }
  return url;
}

/** The parts of a URL that may be its password, beside those that the sink named. */
function secretsOf(url: URL, request: HttpRequest): string[] {
  const parts = [...url.pathname.split('/'), ...url.searchParams.values()].filter((part) => part.length > 7);
  return [request.url, url.href, `${url.pathname}${url.search}`, ...parts, ...request.secrets].filter(
    (secret) => secret !== '/',
  );
}

async function readText({ body }: Dispatcher.ResponseData): Promise<string> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    total += chunk.byteLength;
    if (total > ANSWER_LIMIT) break;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function refusal(
  where: Where,
  status: number,
  retryAfter: string | string[] | undefined,
  said: string,
): StrongroomError {
  const message = `${describe(where)} answers ${status}${said === '' ? '' : `: ${said}`}`;
  const retryAfterMs = parseRetryAfter(retryAfter, Date.now());
  const details = { ...where, status, ...(retryAfterMs === null ? {} : { retryAfterMs }) };
  if (status === 429) {
    return new StrongroomError('E_NOTIFY_THROTTLED', message, { hint: 'it is tried again later', details });
  }
  if (status >= 500 || status === 408 || status === 425) {
    return new StrongroomError('E_NOTIFY_UNREACHABLE', message, {
      hint: 'it is tried again; look at the sink',
      details,
    });
  }
  return new StrongroomError('E_NOTIFY_REFUSED', message, {
    hint:
      HINTS[status] ?? 'the sink does not take such a message: look at its documentation, and at the type of the sink',
    details: { ...details, blames: MESSAGE.has(status) ? 'message' : 'sink' },
  });
}

/** The same sink may well take another message. */
const MESSAGE = new Set([400, 413, 422]);
const REDIRECT = 'a redirect is not followed: write the address that it points to';
const GONE = 'the URL is no longer valid: make a new one at the sink, and put it where the config points to';
const DENIED = 'the credentials or the URL are not valid any more: make new ones at the sink';
const HINTS: Readonly<Record<number, string>> = {
  301: REDIRECT,
  302: REDIRECT,
  303: REDIRECT,
  307: REDIRECT,
  308: REDIRECT,
  401: DENIED,
  403: DENIED,
  404: GONE,
  410: GONE,
};

/** Seconds or an HTTP date to milliseconds from `nowMs`, at most fifteen minutes; null = not said, or not understood. */
function parseRetryAfter(value: string | string[] | undefined, nowMs: number): number | null {
  const text = (Array.isArray(value) ? value[0] : value)?.trim();
  if (text === undefined || text === '') return null;
  // Only dates as HTTP writes them: the parser makes a year of "-1".
  const date = text.endsWith('GMT') ? Date.parse(text) - nowMs : Number.NaN;
  const ms = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) * 1000 : date;
  return Number.isNaN(ms) ? null : Math.min(RETRY_AFTER_LIMIT_MS, Math.max(0, Math.ceil(ms)));
}
