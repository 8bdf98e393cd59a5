/** Puts the known SHA-256 of a body into the signature. */

/** Where the middleware belongs: before the request is signed. */
export const BEFORE_SIGNING = { step: 'build', name: 'signedPayload' } as const;

/**
 * Middleware that sets `x-amz-content-sha256`. The SDK would otherwise hash the body on the main thread a second time
 * (200 MB/s without SHA-NI), or leave a stream out of the signature altogether. With it every store that checks
 * signatures refuses changed bytes, whatever it knows of checksum headers.
 */
export function signedPayload(sha256: Uint8Array) {
  const hex = Buffer.from(sha256).toString('hex');
  return <Args extends object, Result>(next: (args: Args) => Promise<Result>) =>
    (args: Args): Promise<Result> => {
      if ('request' in args && hasHeaders(args.request)) args.request.headers['x-amz-content-sha256'] = hex;
      return next(args);
    };
}

function hasHeaders(request: unknown): request is { headers: Record<string, string> } {
  return typeof request === 'object' && request !== null && 'headers' in request;
}
