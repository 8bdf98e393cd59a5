/** The stream of what happens in the queue, for pages that stay open. */
import type { FastifyReply } from 'fastify';
import { StrongroomError } from '../core/errors.ts';
import type { Clock } from '../core/units.ts';
import type { DashboardQueue } from './source.ts';

/** Each open page holds a connection. */
const MAX_STREAMS = 100;
/** Proxies end what is silent for a minute; also so often it is asked whether the visitor may still see it. */
const BEAT_MS = 20_000;

/** The open streams of one server. */
export class LiveStreams implements Disposable {
  readonly #open = new Set<AbortController>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes the connection over. `mayStay` is asked again and again; false ends it. Throws E_PRECONDITION when there are too many. */
  add(reply: FastifyReply, queue: DashboardQueue, mayStay: () => Promise<boolean>): void {
    if (this.#open.size >= MAX_STREAMS) {
      throw new StrongroomError('E_PRECONDITION', `${MAX_STREAMS} pages follow the queue already`, {
        hint: 'close some of them, or reload the page to see what is new',
      });
    }
    const over = new AbortController();
    this.#open.add(over);
    reply.hijack();
    const { raw } = reply;
    const headers = { ...reply.getHeaders(), 'content-type': 'text/event-stream', 'cache-control': 'no-store' };
    raw.writeHead(200, headers as Record<string, string>);
    raw.write('retry: 5000\n\n');
    const beat = setInterval(() => {
      raw.write(':\n\n');
      mayStay().then(
        (may) => !may && over.abort(),
        () => over.abort(),
      );
    }, BEAT_MS);
    over.signal.addEventListener('abort', () => {
      clearInterval(beat);
      this.#open.delete(over);
      raw.end();
    });
    raw.on('close', () => over.abort());
    queue.listen((event) => {
      raw.write(`data: ${JSON.stringify({ ...event, at: this.#clock.now().toISOString() })}\n\n`);
    }, over.signal);
  }

  [Symbol.dispose](): void {
    for (const stream of this.#open) stream.abort();
  }
}
