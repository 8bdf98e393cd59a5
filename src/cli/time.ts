import { StrongroomError } from '../core/errors.ts';

const TIME = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s?(?:Z|[+-]\d{2}:?\d{2})$/;

/** ISO 8601 with its zone: at night nobody should have to know the zone of a container. */
export function parseTime(text: string): Date {
  const time = TIME.test(text) ? new Date(text.replace(' ', 'T').replace(' ', '')) : null;
  if (time === null || Number.isNaN(time.getTime())) {
    throw new StrongroomError('E_USAGE', `"${text}" is not a time`, {
      hint: 'write date, time and zone, such as 2026-11-22T03:00Z or 2026-11-22T04:00+01:00',
    });
  }
  return time;
}
