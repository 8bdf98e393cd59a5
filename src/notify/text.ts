/** Words that several sinks share, and what keeps foreign text from doing more than being read. */
import { formatDuration } from '../core/units.ts';
import { type Notice, SEVERITIES, worst } from './event.ts';

/** Problems of one message that are written out; the rest is counted. */
const LISTED = 40;

/** `CRITICAL prod-eu-1: title`, on one line; the state is said unless it is the first word about the problem. */
export function headline(notice: Notice): string {
  const { state, severity, cluster, title } = notice;
  const mark = state === 'resolved' ? 'RESOLVED' : `${severity.toUpperCase()}${state === 'update' ? ' (update)' : ''}`;
  return oneLine(`${mark} ${cluster === null ? '' : `${cluster}: `}${title}`);
}

/** What stands above a message: the headline of the only notice, or how many of which kind there are. */
export function subject(notices: readonly Notice[]): string {
  const [only] = notices;
  if (only !== undefined && notices.length === 1) return headline(only);
  const told = notices.filter(({ state }) => state !== 'resolved');
  const kinds = SEVERITIES.toReversed().flatMap((severity) => {
    const count = told.filter((notice) => notice.severity === severity).length;
    return count === 0 ? [] : [`${count} ${severity}`];
  });
  const resolved = notices.length - told.length;
  if (resolved > 0) kinds.push(`${resolved} resolved`);
  const mark = told.length === 0 ? 'RESOLVED' : worst(told).toUpperCase();
  return `${mark} ${notices.length} notifications: ${kinds.join(', ')}`;
}

/** The lines below the subject: text, fields and times of the only notice, or the headlines of all. Plain text. */
export function bodyLines(notices: readonly Notice[]): string[] {
  const [only] = notices;
  if (only === undefined) return [];
  if (notices.length > 1) {
    const worstFirst = notices.toSorted((a, b) => rank(b) - rank(a));
    const lines = worstFirst.slice(0, LISTED).map((notice) => `- ${headline(notice)} (${time(notice.at)})`);
    return notices.length > LISTED ? [...lines, `… and ${notices.length - LISTED} more`] : lines;
  }
  const lines = plain(only.text).split('\n');
  const fields = Object.entries(only.fields).map(([name, value]) => oneLine(`${name}: ${value}`));
  if (fields.length > 0) lines.push('', ...fields);
  lines.push('', since(only));
  return lines;
}

function since({ state, at, openedAt }: Notice): string {
  if (state === 'open') return `at ${time(at)}`;
  const age = formatDuration(Math.max(0, at.getTime() - openedAt.getTime()));
  return state === 'resolved'
    ? `resolved at ${time(at)}, open since ${time(openedAt)} (${age})`
    : `at ${time(at)}, open since ${time(openedAt)} (${age})`;
}

function rank({ state, severity }: Notice): number {
  return state === 'resolved' ? -1 : SEVERITIES.indexOf(severity);
}

function time(at: Date): string {
  return at.toISOString().replace(/\.\d+Z$/, 'Z');
}

/** Without control characters (but for line ends) and without those that turn the direction of the text around. */
export function plain(text: string): string {
  return text
    .replaceAll(/\r\n?/g, '\n')
    .replaceAll(/[\u202a-\u202e\u2066-\u2069\u200e\u200f]/g, '')
    .replaceAll(/[^\P{Cc}\n]/gu, ' ');
}

/** {@link plain}, on one line. */
export function oneLine(text: string): string {
  return plain(text).replaceAll(/\s+/g, ' ').trim();
}

/** At most `limit` UTF-16 units, with … for what is cut; no character is cut in half. */
export function clip(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const cut = text.slice(0, limit - 1);
  return `${/[\ud800-\udbff]$/.test(cut) ? cut.slice(0, -1) : cut}…`;
}
