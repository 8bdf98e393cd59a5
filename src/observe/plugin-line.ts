/** What a monitoring plugin says: one line, the verdict first, numbers for a graph behind a bar. */
import { formatDuration } from '../core/units.ts';
import { LEVELS, type Level, type Limits, type Verdict, worst } from './verdict.ts';

export type Checked = { cluster: string; limits: Limits; verdict: Verdict };

/** More would not fit where the line is read; --json has them all. */
const REASONS_SHOWN = 3;

/** By level, then by name. */
export function worstFirst(checked: readonly Checked[]): Checked[] {
  const rank = ({ verdict }: Checked): number => LEVELS.indexOf(verdict.level);
  return checked.toSorted((a, b) => rank(b) - rank(a) || (a.cluster < b.cluster ? -1 : 1));
}

/** `CRITICAL - prod: …; test: ok, 2h old | 'age_prod'=…`. `checked` in the order in which it is to be told. */
export function pluginLine(checked: readonly Checked[]): string {
  const level: Level = checked.length === 0 ? 'unknown' : worst(checked.map(({ verdict }) => verdict.level));
  const told = checked.length === 0 ? 'no cluster' : checked.map(clusterText).join('; ');
  const perfdata = checked.flatMap(perfdataOf).join(' ');
  // A bar begins the numbers, and a second line is for other eyes.
  const line = told.replaceAll('|', '/').replaceAll(/\s+/g, ' ');
  return `${level.toUpperCase()} - ${line}${perfdata === '' ? '' : ` | ${perfdata}`}`;
}

function clusterText({ cluster, verdict }: Checked): string {
  const age = verdict.ageMs === null ? '' : `, newest whole backup ${formatDuration(verdict.ageMs)} old`;
  if (verdict.level === 'ok') return `${cluster}: ok${age}`;
  const shown = verdict.reasons.slice(0, REASONS_SHOWN).map(({ text }) => text);
  const left = verdict.reasons.length - shown.length;
  return `${cluster}: ${shown.join(', ')}${left > 0 ? `, and ${left} more` : ''}`;
}

/** `'label'=value;warn;crit;min`, seconds; no warning level, for there is none. */
function perfdataOf({ cluster, limits, verdict }: Checked): string[] {
  if (verdict.ageMs === null) return [];
  const limit = limits.maxAgeMs === null ? '' : String(Math.round(limits.maxAgeMs / 1000));
  return [`'age_${cluster}'=${Math.max(0, Math.round(verdict.ageMs / 1000))}s;;${limit};0`];
}
