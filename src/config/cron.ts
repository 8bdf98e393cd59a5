/** Cron expressions as the config takes them. The parser is that of the queue: what it takes here, it fires there. */
import { CronExpressionParser } from 'cron-parser';

const ALIASES = new Set(['@hourly', '@daily', '@weekly', '@monthly', '@yearly']);
/** The gaps of a cron expression repeat; these many tell the shortest of any that people write. */
const GAPS_LOOKED_AT = 200;

/** Why `cron` is no schedule, in words that go on with "write …"; null = it is one. */
export function cronProblem(cron: string): string | null {
  const fields = cron.trim().split(/\s+/);
  const isAlias = ALIASES.has(cron.trim());
  // The parser fills what is missing with stars: an empty text would fire every minute. H and R are random.
  if (!isAlias && (fields.length < 5 || fields.length > 6 || /[HR?]/.test(cron))) {
    return 'not a cron expression; write five fields, such as "0 */6 * * *", or @daily';
  }
  try {
    CronExpressionParser.parse(cron.trim(), { tz: 'UTC' }).next();
    return null;
  } catch (e) {
    const why = e instanceof Error ? e.message.toLowerCase() : String(e);
    return `not a cron expression (${why}); write five fields, such as "0 */6 * * *"`;
  }
}

/** The shortest time between two due times, in milliseconds: a jitter must stay below it. */
export function shortestGap(cron: string, timeZone: string, from: Date): number {
  try {
    return shortestGapIn(cron, timeZone, from);
  } catch {
    // The parser gives up where clocks are moved by half an hour; the days around it have the same gaps as everywhere.
    return shortestGapIn(cron, 'UTC', from);
  }
}

function shortestGapIn(cron: string, timeZone: string, from: Date): number {
  const times = CronExpressionParser.parse(cron, { currentDate: from, tz: timeZone });
  let before = times.next().getTime();
  let shortest = Number.POSITIVE_INFINITY;
  for (let i = 0; i < GAPS_LOOKED_AT; i += 1) {
    const next = times.next().getTime();
    shortest = Math.min(shortest, next - before);
    before = next;
  }
  return shortest;
}
