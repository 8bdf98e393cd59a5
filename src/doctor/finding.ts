/** What doctor says: one finding for each thing that was looked at. Pure. */

export const AREAS = ['config', 'vault', 'kms', 'destinations', 'encryption', 'queue', 'notifications'] as const;
export type Area = (typeof AREAS)[number];

/** `problem` = something would fail, or a promise is not kept. `unknown` = it could not be, or is not to be, looked at. */
export type Status = 'ok' | 'warning' | 'problem' | 'unknown';

export type Finding = {
  area: Area;
  /** the thing itself, such as `node https://vault-0:8200` */
  what: string;
  status: Status;
  /** one sentence */
  detail: string;
  /** a command, or a line of the config; null = there is nothing to do */
  fix: string | null;
};

/** What one check says of one thing. */
export type Outcome = Omit<Finding, 'area'>;

const WORST_FIRST: readonly Status[] = ['problem', 'warning', 'unknown', 'ok'];

export function ok(what: string, detail: string): Outcome {
  return { what, status: 'ok', detail, fix: null };
}

export function warning(what: string, detail: string, fix: string): Outcome {
  return { what, status: 'warning', detail, fix };
}

export function problem(what: string, detail: string, fix: string): Outcome {
  return { what, status: 'problem', detail, fix };
}

/** `fix` = how it could be known. */
export function unknown(what: string, detail: string, fix: string | null = null): Outcome {
  return { what, status: 'unknown', detail, fix };
}

/** By area in the order of {@link AREAS}, in each the worst first; otherwise as they were found. */
export function sorted(findings: readonly Finding[]): Finding[] {
  return findings.toSorted(
    (a, b) =>
      AREAS.indexOf(a.area) - AREAS.indexOf(b.area) || WORST_FIRST.indexOf(a.status) - WORST_FIRST.indexOf(b.status),
  );
}

export type Verdict = {
  status: Status;
  counts: Record<Status, number> /** one line, the worst finding in it */;
  line: string;
};

/** All of them in one line. Nothing looked at is `unknown`: it is no proof of anything. */
export function verdictOf(findings: readonly Finding[]): Verdict {
  const counts: Record<Status, number> = { problem: 0, warning: 0, unknown: 0, ok: 0 };
  for (const { status } of findings) counts[status] += 1;
  const said = WORST_FIRST.flatMap((status) => (counts[status] === 0 ? [] : [counted(counts[status], status)]));
  const status = WORST_FIRST.find((one) => counts[one] > 0) ?? 'unknown';
  const worst = findings.find((finding) => finding.status === status);
  const first = worst === undefined || status === 'ok' ? '' : `; first ${worst.area}, ${worst.what}: ${worst.detail}`;
  return { status, counts, line: findings.length === 0 ? 'nothing was looked at' : `${said.join(', ')}${first}` };
}

function counted(count: number, status: Status): string {
  const isPlural = count !== 1 && (status === 'problem' || status === 'warning');
  return `${count} ${status}${isPlural ? 's' : ''}`;
}
