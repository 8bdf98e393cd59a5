/** What a failed request says of itself, read by narrow checks and stripped of what must not be shown. */
import { namesInCertificate } from '../core/handshake.ts';

export type Failure = {
  /** the error code of S3, or the name of the exception */
  name: string;
  status: number | undefined;
  requestId: string | undefined;
  message: string;
  /** the destination's clock */
  serverTime: string | undefined;
  /** where the bucket really is */
  region: string | undefined;
  /** of the network or of TLS, such as ECONNRESET */
  code: string | undefined;
  /** scheme, host and port that a redirect points to */
  location: string | undefined;
  /** in a certificate that is for another host */
  certificateNames: string | undefined;
};

/** Takes SDK exceptions, node errors and anything else that was thrown. */
export function readFailure(e: unknown): Failure {
  const o = record(e);
  const metadata = record(o['$metadata']);
  const headers = record(record(o['$response'])['headers']);
  const name = text(o['name']) ?? 'Error';
  return {
    name: name === 'Error' ? (text(o['Code']) ?? name) : name,
    status: typeof metadata['httpStatusCode'] === 'number' ? metadata['httpStatusCode'] : undefined,
    requestId: text(metadata['requestId']),
    message: text(o['message']) ?? '',
    serverTime: text(o['ServerTime']) ?? text(headers['date']),
    region: text(o['Region']) ?? text(headers['x-amz-bucket-region']),
    code: text(o['code']) ?? text(record(o['cause'])['code']),
    location: origin(text(headers['location'])),
    certificateNames: namesInCertificate(e) ?? undefined,
  };
}

/**
 * A copy of `e` with name, code, message and stack only. An SDK exception also carries what the server echoed, and to
 * a wrong signature Amazon echoes the canonical request with its session token.
 */
export function harmlessCopy(e: unknown, failure: Failure): Error {
  const copy = new Error(failure.message);
  copy.name = failure.name;
  if (failure.code !== undefined) Object.assign(copy, { code: failure.code });
  if (e instanceof Error && e.stack !== undefined) copy.stack = e.stack;
  return copy;
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function origin(location: string | undefined): string | undefined {
  return location !== undefined && URL.canParse(location) ? new URL(location).origin : undefined;
}

function text(value: unknown): string | undefined {
  if (value instanceof Date) return value.toISOString();
  return typeof value === 'string' && value !== '' ? value : undefined;
}
