/** The signature of a webhook: whoever has the secret knows that the body is ours, and of now. */
import { createHmac } from 'node:crypto';
import type { Secret } from '../core/secret.ts';

export const SIGNATURE_HEADER = 'x-strongroom-signature';

/** `t=<unix seconds>,v1=<hex>`: HMAC-SHA256 over `<t>.<body>`, so that an old body cannot be sent again as a new one. */
export function signBody(body: string, secret: Secret, at: Date): string {
  const seconds = Math.floor(at.getTime() / 1000);
  const mac = createHmac('sha256', secret.reveal()).update(`${seconds}.${body}`).digest('hex');
  return `t=${seconds},v1=${mac}`;
}
