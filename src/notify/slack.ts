/** Incoming webhooks as Slack has them; Mattermost and Rocket.Chat take the same, and read `text` where blocks are not known. */
import { StrongroomError } from '../core/errors.ts';
import type { Notice } from './event.ts';
import { describe, scrub } from './failure.ts';
import { exchange } from './http.ts';
import type { HttpSinkOptions, SecretSource, Sink } from './sink.ts';
import { bodyLines, clip, subject } from './text.ts';

export type SlackOptions = HttpSinkOptions & { url: SecretSource };

/** Slack's own limit for the text of a section is 3,000 characters after escaping. */
const SECTION_LIMIT = 2_900;
const TEXT_LIMIT = 3_500;

export class SlackSink implements Sink {
  readonly name: string;
  readonly type = 'slack';
  readonly holdsIncidents = false;
  readonly #options: SlackOptions;

  constructor(options: SlackOptions) {
    this.name = options.name;
    this.#options = options;
  }

  async send(notices: readonly Notice[], signal: AbortSignal): Promise<void> {
    const url = (await this.#options.url.resolve(signal)).reveal();
    const request = {
      method: 'POST',
      url,
      headers: { 'content-type': 'application/json; charset=utf-8' },
      body: JSON.stringify(slackMessage(notices)),
      secrets: [],
    } as const;
    const { text } = await exchange(this.#options, request, signal);
    // Rocket.Chat and gateways answer 200 and say no in the body.
    if (!saysNo(text)) return;
    const where = { sink: this.name, host: new URL(url).host };
    const parts = new URL(url).pathname.split('/').filter((part) => part.length > 7);
    throw new StrongroomError('E_NOTIFY_REFUSED', `${describe(where)} answers 200 and says no: ${scrub(text, parts)}`, {
      hint: 'look at what it says; the channel, the bot or the URL may be gone',
      details: { ...where, blames: 'sink' },
    });
  }
}

/** The body of the request: `text` for notifications and plain clients, blocks for the rest. */
function slackMessage(notices: readonly Notice[]): { text: string; blocks: unknown[] } {
  const title = subject(notices);
  const body = bodyLines(notices).join('\n').trim();
  return {
    text: clipEscaped(`${title}\n${body}`, TEXT_LIMIT),
    blocks: [
      section(`*${clipEscaped(title, 300)}*`),
      ...(body === '' ? [] : [section(clipEscaped(body, SECTION_LIMIT))]),
    ],
  };
}

/** Verbatim: no name and no address in foreign text becomes a mention or a link. */
function section(text: string): unknown {
  return { type: 'section', text: { type: 'mrkdwn', text, verbatim: true } };
}

/** The three characters that Slack asks to escape, and the @ words that Mattermost and Rocket.Chat call everybody with. */
function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll(/@(?=[a-z])/gi, '@\u200b');
}

/** Escaped and then at most `limit` long, with no entity cut in half. */
function clipEscaped(text: string, limit: number): string {
  return clip(escape(clip(text, limit)), limit).replace(/&[a-z]*…$/, '…');
}

function saysNo(text: string): boolean {
  try {
    const answer: unknown = JSON.parse(text);
    if (typeof answer !== 'object' || answer === null) return false;
    return ('ok' in answer && answer.ok === false) || ('success' in answer && answer.success === false);
  } catch {
    return false;
  }
}
