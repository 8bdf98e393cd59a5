/** PagerDuty Events API v2: one incident for each key, from `trigger` to `resolve`. */
import { createHash } from 'node:crypto';
import { StrongroomError } from '../core/errors.ts';
import type { Notice } from './event.ts';
import { describe, scrub } from './failure.ts';
import { exchange } from './http.ts';
import type { HttpSinkOptions, SecretSource, Sink } from './sink.ts';
import { clip, headline, plain } from './text.ts';

export type PagerDutyOptions = HttpSinkOptions & {
  /** scheme, host and port; https://events.pagerduty.com, or https://events.eu.pagerduty.com */
  endpoint: string;
  /** integration key of the service */
  routingKey: SecretSource;
};

const KEY_LIMIT = 255;
const SUMMARY_LIMIT = 1024;
const TEXT_LIMIT = 20_000;

export class PagerDutySink implements Sink {
  readonly name: string;
  readonly type = 'pagerduty';
  readonly holdsIncidents = true;
  readonly #options: PagerDutyOptions;

  constructor(options: PagerDutyOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** One request for each notice: the API knows no list. The same again is the same incident. */
  async send(notices: readonly Notice[], signal: AbortSignal): Promise<void> {
    const routingKey = (await this.#options.routingKey.resolve(signal)).reveal();
    for (const notice of notices) await this.#enqueue(notice, routingKey, signal);
  }

  async #enqueue(notice: Notice, routingKey: string, signal: AbortSignal): Promise<void> {
    const request = {
      method: 'POST',
      url: `${this.#options.endpoint}/v2/enqueue`,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ routing_key: routingKey, ...pagerDutyEvent(notice) }),
      secrets: [routingKey],
    } as const;
    const { status, text } = await exchange(this.#options, request, signal);
    if (isSuccess(text)) return;
    const where = { sink: this.name, host: new URL(this.#options.endpoint).host };
    const said = scrub(text, [routingKey]);
    throw new StrongroomError('E_NOTIFY_REFUSED', `${describe(where)} answers ${status} without success: ${said}`, {
      hint: 'is the endpoint that of PagerDuty? write https://events.pagerduty.com or https://events.eu.pagerduty.com',
      details: { ...where, status, blames: 'sink' },
    });
  }
}

/** The event without its routing key. */
function pagerDutyEvent(notice: Notice): Record<string, unknown> {
  const incident = { dedup_key: dedupKey(notice.key), client: 'strongroom' };
  if (notice.state === 'resolved') return { ...incident, event_action: 'resolve' };
  return {
    ...incident,
    event_action: 'trigger',
    payload: {
      summary: clip(headline(notice), SUMMARY_LIMIT),
      source: notice.cluster ?? 'strongroom',
      severity: notice.severity,
      timestamp: notice.at.toISOString(),
      component: 'strongroom',
      ...(notice.cluster === null ? {} : { group: notice.cluster }),
      custom_details: {
        ...notice.fields,
        text: clip(plain(notice.text), TEXT_LIMIT),
        opened_at: notice.openedAt.toISOString(),
      },
    },
  };
}

/** The API takes 255 characters: a longer key is hashed, never cut, for two that begin alike are two problems. */
function dedupKey(key: string): string {
  const own = `strongroom/${key}`;
  return own.length <= KEY_LIMIT ? own : `strongroom/sha256/${createHash('sha256').update(key).digest('hex')}`;
}

function isSuccess(text: string): boolean {
  try {
    const answer: unknown = JSON.parse(text);
    return typeof answer === 'object' && answer !== null && 'status' in answer && answer.status === 'success';
  } catch {
    return false;
  }
}
