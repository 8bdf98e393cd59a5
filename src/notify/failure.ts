/** What a failed send means. No error of a sink carries its URL: the URL of a webhook is its password. */
import { isError, StrongroomError } from '../core/errors.ts';
import { explainHandshake, handshakeFault, namesInCertificate } from '../core/handshake.ts';

/** The sink and the machine behind it, for messages. */
export type Where = { sink: string; host: string };

const CONNECTION: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  EHOSTUNREACH: 'there is no route',
  ENETUNREACH: 'there is no route',
  ENOTFOUND: 'there is no such host name',
  EAI_AGAIN: 'DNS does not answer',
  EDNS: 'DNS does not answer',
  ETIMEDOUT: 'no answer within the time-out',
  UND_ERR_CONNECT_TIMEOUT: 'no connection within the time-out',
  UND_ERR_HEADERS_TIMEOUT: 'no answer within the time-out',
  UND_ERR_BODY_TIMEOUT: 'the answer stopped halfway',
  ECONNRESET: 'the connection was lost',
  EPIPE: 'the connection was lost',
  ECONNECTION: 'the connection was lost',
  UND_ERR_SOCKET: 'the connection was lost',
};

/** `notification sink ops (hooks.example.com)` */
export function describe({ sink, host }: Where): string {
  return `notification sink ${sink} (${host})`;
}

/** It did not answer within `ms`, or no connection was made. */
export function silent(where: Where, ms: number): StrongroomError {
  return new StrongroomError('E_NOTIFY_UNREACHABLE', `${describe(where)}: no answer within ${ms} ms`, {
    hint: 'check the address, firewalls and proxies between; or give the sink a longer timeout',
    details: { ...where },
  });
}

/**
 * What the network or TLS made of a send: E_NOTIFY_UNREACHABLE; where the certificate is at fault not retryable. Our
 * own errors pass. `code` of a library that hides the one beneath it may be given.
 */
export function networkFailure(e: unknown, where: Where, code = codeOf(e)): StrongroomError {
  if (isError(e)) return e;
  const said = e instanceof Error ? e.message : '';
  const fault = handshakeFault(code, said);
  if (fault !== null) {
    const { says, hint } = explainHandshake(fault, 'sink');
    const names = fault === 'other-name' ? namesInCertificate(e) : null;
    return new StrongroomError('E_NOTIFY_UNREACHABLE', `${describe(where)}: ${says}`, {
      hint: names === null ? hint : `${hint}: ${names}`,
      details: { ...where, tls: code },
      retryable: false,
    });
  }
  const why = CONNECTION[code] ?? (code.startsWith('HPE_') ? 'it does not answer in HTTP' : 'no answer');
  return new StrongroomError('E_NOTIFY_UNREACHABLE', `${describe(where)}: ${why}`, {
    hint: 'check the address, DNS, firewalls and proxies between',
    // Not the error itself as a cause: what libraries keep in theirs is not ours to vouch for.
    details: { ...where, ...(code === '' ? {} : { code }) },
  });
}

/** The code of `e` or of the first of its causes that has one; '' when none has. */
export function codeOf(e: unknown): string {
  let current = e;
  for (let depth = 0; current instanceof Error && depth < 5; depth += 1) {
    if ('code' in current && typeof current.code === 'string') return current.code;
    current = current instanceof AggregateError && current.errors.length > 0 ? current.errors[0] : current.cause;
  }
  return '';
}

/** What a sink said, on one line and without any of `secrets`: some echo what they were sent. */
export function scrub(said: string, secrets: readonly string[]): string {
  // Replacing a secret of three characters would garble every sentence, and tell it.
  const clean = secrets
    .filter((secret) => secret.length > 3)
    .toSorted((a, b) => b.length - a.length)
    .reduce((text, secret) => text.replaceAll(secret, '[secret]'), said);
  return clean
    .replace(/<[^>]*>/g, ' ')
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .trim()
    .slice(0, 200);
}
