/** Events and wiring for tests of notifications. */
import { Secret } from '../../src/core/secret.ts';
import { systemClock } from '../../src/core/units.ts';
import type { Notice, NotifyEvent } from '../../src/notify/event.ts';
import { Notifier, type NotifierOptions } from '../../src/notify/notifier.ts';
import type { HttpSinkOptions, SecretSource } from '../../src/notify/sink.ts';

export const AT = new Date('2026-03-04T05:06:07.000Z');

export function event(change: Partial<NotifyEvent> = {}): NotifyEvent {
  return {
    key: 'prod-eu-1/backup',
    cluster: 'prod-eu-1',
    state: 'open',
    severity: 'critical',
    title: 'the backup failed',
    text: 'node bao-1 is sealed\nunseal it, then: strongroom backup',
    at: AT,
    fields: { run: '01K0' },
    ...change,
  };
}

export function notice(change: Partial<Notice> = {}): Notice {
  return { ...event(), openedAt: AT, ...change };
}

export const fixed = (text: string): SecretSource => ({ resolve: () => Promise.resolve(new Secret(text)) });

export const httpOptions: HttpSinkOptions = { name: 'ops', timeoutMs: 5_000, allowHttp: false };

export type Told = {
  failed: { sink: string; code: string; message: string; waitMs: number | null }[];
  dropped: { sink: string; events: number; why: string }[];
  delivered: { sink: string; events: number }[];
};

/** A notifier that gathers nothing and tries again at once, and what its observer heard. */
export async function startTestNotifier(
  change: Partial<NotifierOptions> & Pick<NotifierOptions, 'sinks'>,
): Promise<{ notifier: Notifier; told: Told }> {
  const told: Told = { failed: [], dropped: [], delivered: [] };
  const notifier = await Notifier.start(
    {
      pings: [],
      burst: { events: 5, windowMs: 0 },
      repeatAfterMs: 86_400_000,
      backoff: { baseMs: 5, maxMs: 20 },
      clock: systemClock,
      restore: () => Promise.resolve([]),
      observer: {
        delivered: (sink, events) => told.delivered.push({ sink, events }),
        failed: (sink, { code, message }, waitMs) => told.failed.push({ sink, code, message, waitMs }),
        dropped: (sink, events, why) => told.dropped.push({ sink, events, why }),
        restoreFailed: (e) => {
          throw e;
        },
      },
      ...change,
    },
    new AbortController().signal,
  );
  return { notifier, told };
}
