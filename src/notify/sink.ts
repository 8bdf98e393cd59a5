/** Where notifications go. Each kind is one file; what waits, tries again and gives up is lane.ts. */
import type { Secret } from '../core/secret.ts';
import type { Notice } from './event.ts';

export interface Sink {
  /** its name in the config; with the host, all that logs and errors say of it */
  readonly name: string;
  /** `slack`, `email` … */
  readonly type: string;
  /** true = holds one incident for each key until it is resolved; it must never be left with one that nobody ends */
  readonly holdsIncidents: boolean;
  /**
   * Tells `notices`, all in one message where the sink knows such a thing. Resolves when the sink said that it took
   * them. Rejects with an E_NOTIFY_…, whose `retryable` says whether the same may succeed later; then some may have
   * arrived all the same. `details.retryAfterMs` is the sink's own wish.
   */
  send(notices: readonly Notice[], signal: AbortSignal): Promise<void>;
}

/** A secret that is read each time it is needed, such as the config's references: somebody may have changed it. */
export type SecretSource = { resolve(signal: AbortSignal): Promise<Secret> };
/** As {@link SecretSource}, for what is no secret. */
export type TextSource = { resolve(signal: AbortSignal): Promise<string> };

/** What every sink over HTTP has. */
export type HttpSinkOptions = {
  name: string;
  /** for one request, answer included, in ms */
  timeoutMs: number;
  /** PEM of the CA certificates that may sign the certificate of the sink; default: those of the system */
  ca?: TextSource;
  /** send over http: to other machines as well: whoever is on the way reads the URL, which is often the password */
  allowHttp: boolean;
};
