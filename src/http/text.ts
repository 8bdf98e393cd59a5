/** Times, ages and verdicts as pages show them. */
import { formatDuration } from '../core/units.ts';
import type { Level } from '../observe/verdict.ts';
import { type Html, html } from './html.ts';

/** `2027-03-10 06:00:00 UTC`, and beside it the hour in the cluster's zone where that is another one. */
export function timeIn(zone: string, time: Date): Html {
  const iso = time.toISOString();
  const utc = `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;
  const local = zone === 'UTC' ? null : html` <span class="zone">${inZone(zone, time)} ${zone}</span>`;
  return html`<time datetime="${iso}">${utc}</time>${local}`;
}

/** `3h 5m ago`, or `in 3h 5m`. */
export function ago(time: Date, now: Date): string {
  const ms = now.getTime() - time.getTime();
  return ms < 0 ? `in ${formatDuration(-ms)}` : `${formatDuration(ms)} ago`;
}

// Making one takes longer than formatting a hundred times with it.
const formatters = new Map<string, Intl.DateTimeFormat>();

function inZone(zone: string, time: Date): string {
  let format = formatters.get(zone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-GB', { weekday: 'short', hour: '2-digit', minute: '2-digit', timeZone: zone });
    formatters.set(zone, format);
  }
  return format.format(time);
}

const WORDS: Readonly<Record<Level, string>> = {
  ok: 'good',
  warning: 'warning',
  unknown: 'unknown',
  critical: 'critical',
};

/** A shape of its own for each level, and the word: colour is only the third sign. */
export function badge(level: Level): Html {
  return html`<span class="badge ${level}">${shape(level)}${WORDS[level]}</span>`;
}

function shape(level: Level): Html {
  switch (level) {
    case 'ok':
      return html`<svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="7" /><path class="sign" d="M4.5 8.5l2.5 2.5 4.5-5.5" /></svg>`;
    case 'warning':
      return html`<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M8 1l7.5 14H.5z" /><path class="sign" d="M8 6v4.5M8 12.2v1" /></svg>`;
    case 'unknown':
      return html`<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M8 0l8 8-8 8-8-8z" /><path class="sign" d="M5.8 6.3q0-2 2.2-2t2.2 1.8q0 1.2-2.2 2.4M8 11v1" /></svg>`;
    case 'critical':
      return html`<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M1 1h14v14H1z" /><path class="sign" d="M5 5l6 6M11 5l-6 6" /></svg>`;
  }
}

/** How a run ended, as a badge. */
export function outcomeBadge(outcome: 'done' | 'partly' | 'failed'): Html {
  const level = { done: 'ok', partly: 'warning', failed: 'critical' } as const;
  return html`<span class="badge ${level[outcome]}">${shape(level[outcome])}${outcome}</span>`;
}
