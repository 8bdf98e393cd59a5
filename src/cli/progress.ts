/** A long run as one line that changes on a terminal, and as a line now and then in a log. */
import type { OnProgress, ProgressEvent } from '../core/progress.ts';
import { type Clock, formatBytes, formatDuration } from '../core/units.ts';
import { printable } from './failure.ts';
import type { Host, Mode } from './host.ts';

const REDRAW_MS = 100;
/** A stage that has said nothing for this long leaves the line; several destinations are fed at once. */
const STALE_MS = 2_000;
/** Between two lines of one stage where there is no terminal. */
const PLAIN_MS = 10_000;

type StageState = {
  first: number;
  last: number;
  firstBytes: number;
  shown: number;
  isDone: boolean;
  event: ProgressEvent;
};

export type Progress = Disposable & { onProgress: OnProgress };

/** Draws on `host.stderr`; nothing in JSON mode. Dispose it before anything else is written: that ends the line. */
export function createProgress(host: Pick<Host, 'stderr'>, mode: Pick<Mode, 'json'>, clock: Clock): Progress {
  const stages = new Map<string, StageState>();
  const isTerminal = host.stderr.isTTY === true;
  let drawnAt = 0;
  let hasLine = false;

  const draw = (now: number): void => {
    const active = [...stages.values()]
      .filter((stage) => now - stage.last < STALE_MS)
      .map((stage) => describe(stage, now));
    const width = Math.max(20, (host.stderr.columns ?? 80) - 1);
    const line = active.join(' | ');
    host.stderr.write(`\r\u001b[2K${line.length > width ? `${line.slice(0, width - 1)}…` : line}`);
    hasLine = true;
    drawnAt = now;
  };

  return {
    onProgress(event) {
      if (mode.json) return;
      const now = clock.now().getTime();
      const known = stages.get(event.stage);
      const stage = known ?? {
        first: now,
        last: now,
        firstBytes: event.bytes ?? 0,
        shown: Number.NEGATIVE_INFINITY,
        isDone: false,
        event,
      };
      stage.last = now;
      const isNews = event.message !== undefined && (known === undefined || event.message !== known.event.message);
      stage.event = { ...stage.event, ...event };
      stages.set(event.stage, stage);
      const isDone = event.totalBytes !== undefined && event.bytes === event.totalBytes;
      const endsNow = isDone && !stage.isDone;
      stage.isDone = isDone;
      if (isTerminal) {
        if (known === undefined || endsNow || now - drawnAt >= REDRAW_MS) draw(now);
      } else if (known === undefined || endsNow || isNews || now - stage.shown >= PLAIN_MS) {
        stage.shown = now;
        host.stderr.write(`${describe(stage, now)}\n`);
      }
    },
    [Symbol.dispose]() {
      if (hasLine) host.stderr.write('\n');
      hasLine = false;
    },
  };
}

/** `upload primary: 1.20 GiB of 3.00 GiB (40%), 85.0 MiB/s, 21s left` */
function describe({ first, firstBytes, event }: StageState, now: number): string {
  const parts: string[] = [];
  const { bytes, totalBytes } = event;
  if (bytes !== undefined) {
    const share = totalBytes === undefined || totalBytes === 0 ? '' : ` (${Math.floor((bytes / totalBytes) * 100)}%)`;
    parts.push(
      totalBytes === undefined ? formatBytes(bytes) : `${formatBytes(bytes)} of ${formatBytes(totalBytes)}${share}`,
    );
    // Bytes a millisecond, since the stage began; in the first half second it says nothing.
    const rate = now - first < 500 ? 0 : (bytes - firstBytes) / (now - first);
    if (rate > 0) {
      parts.push(`${formatBytes(Math.round(rate * 1000))}/s`);
      if (totalBytes !== undefined && totalBytes > bytes)
        parts.push(`${formatDuration((totalBytes - bytes) / rate)} left`);
    }
  }
  if (event.message !== undefined) parts.push(printable(event.message));
  return parts.length === 0 ? event.stage : `${event.stage}: ${parts.join(', ')}`;
}
