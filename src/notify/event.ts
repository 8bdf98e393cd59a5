/** What there is to tell, before any sink gives it a form. */

export const SEVERITIES = ['info', 'warning', 'critical'] as const;
export type Severity = (typeof SEVERITIES)[number];

export type NotifyEvent = {
  /** what the problem is, such as `prod-eu-1/backup`: events of one key are one problem that opens, changes and ends */
  key: string;
  /** null = it concerns no single cluster, such as a queue that is away */
  cluster: string | null;
  state: 'open' | 'update' | 'resolved';
  severity: Severity;
  /** one line: what happened, without the cluster's name */
  title: string;
  /** what, where, and what to do next; lines. Never a secret: it goes to third parties */
  text: string;
  /** when it happened */
  at: Date;
  /** ids and numbers by name, for machines and for the table below the text */
  fields: Readonly<Record<string, string>>;
};

/** An event with the history of its problem: what a sink is given. */
export type Notice = NotifyEvent & { openedAt: Date };

/** Above zero when `a` is worse than `b`. */
export function compareSeverity(a: Severity, b: Severity): number {
  return SEVERITIES.indexOf(a) - SEVERITIES.indexOf(b);
}

/** `info` for an empty list. */
export function worst(events: readonly { severity: Severity }[]): Severity {
  return events.reduce<Severity>(
    (found, { severity }) => (compareSeverity(severity, found) > 0 ? severity : found),
    'info',
  );
}
