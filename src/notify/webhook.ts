/** Any receiver of ours: all notices of a message as one signed JSON document. The format is in docs/notifications.md. */
import type { Clock } from '../core/units.ts';
import type { Notice } from './event.ts';
import { exchange } from './http.ts';
import { SIGNATURE_HEADER, signBody } from './signature.ts';
import type { HttpSinkOptions, SecretSource, Sink } from './sink.ts';
import { clip, oneLine, plain, subject } from './text.ts';

export type WebhookOptions = HttpSinkOptions & { url: SecretSource; secret: SecretSource; clock: Clock };

const TEXT_LIMIT = 20_000;

export class WebhookSink implements Sink {
  readonly name: string;
  readonly type = 'webhook';
  readonly holdsIncidents = false;
  readonly #options: WebhookOptions;

  constructor(options: WebhookOptions) {
    this.name = options.name;
    this.#options = options;
  }

  async send(notices: readonly Notice[], signal: AbortSignal): Promise<void> {
    const { url, secret, clock } = this.#options;
    const [address, key] = await Promise.all([url.resolve(signal), secret.resolve(signal)]);
    const now = clock.now();
    const body = JSON.stringify(webhookDocument(notices, now));
    const headers = { 'content-type': 'application/json', [SIGNATURE_HEADER]: signBody(body, key, now) };
    const request = { method: 'POST', url: address.reveal(), headers, body, secrets: [key.reveal()] } as const;
    await exchange(this.#options, request, signal);
  }
}

/** Its fields only ever grow within version 1. */
function webhookDocument(notices: readonly Notice[], sentAt: Date): Record<string, unknown> {
  return {
    version: 1,
    source: 'strongroom',
    sentAt: sentAt.toISOString(),
    subject: subject(notices),
    events: notices.map(({ key, cluster, state, severity, title, text, at, openedAt, fields }) => ({
      // The same event in two messages (the first answer was lost) has the same id.
      id: `${key}@${at.toISOString()}#${state}`,
      key,
      cluster,
      state,
      severity,
      title: oneLine(title),
      text: clip(plain(text), TEXT_LIMIT),
      at: at.toISOString(),
      openedAt: openedAt.toISOString(),
      fields,
    })),
  };
}
