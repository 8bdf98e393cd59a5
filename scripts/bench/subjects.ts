/** What is measured, and the figures that every measurement gives. */
import type { Used } from './measure.ts';

/** Of the same act: the least that any client must do, what a user would write by hand, and strongroom. */
type Role = 'bare' | 'script' | 'strongroom';

export const SUBJECTS = {
  download: { act: 'backup', role: 'bare', label: 'bare download', isDefault: true },
  script: { act: 'backup', role: 'script', label: 'bao + age + aws, twice', isDefault: true },
  buckets: { act: 'backup', role: 'strongroom', label: 'strongroom, two buckets', isDefault: true },
  directories: { act: 'backup', role: 'strongroom', label: 'strongroom, two directories', isDefault: false },
  post: { act: 'restore', role: 'bare', label: 'bare POST of a plain archive', isDefault: true },
  'restore-script': { act: 'restore', role: 'script', label: 'aws + age + bao', isDefault: true },
  restore: { act: 'restore', role: 'strongroom', label: 'strongroom', isDefault: true },
  'restore-guarded': {
    act: 'restore',
    role: 'strongroom',
    label: 'strongroom, safety snapshot first',
    isDefault: false,
  },
} as const satisfies Record<string, { act: 'backup' | 'restore'; role: Role; label: string; isDefault: boolean }>;

export type Subject = keyof typeof SUBJECTS;

/** One run of a subject. Times in milliseconds. */
export type Run = {
  /** wanted state, in bytes */
  state: number;
  subject: Subject;
  round: number;
  /** of the plain archive */
  archiveBytes: number;
  wallMs: number;
  /** of every process of the subject; not of the servers */
  cpuMs: number;
  /** of the largest process of the subject */
  peakRssBytes: number;
  /** of a backup: how long the server was kept busy with the snapshot, from the request to the last byte */
  heldMs: number | null;
  /** of a restore: from its start until the node serves the restored state, and goes on doing so */
  servingMs: number | null;
  /** the commands of a script */
  commands: Used[];
  /** stages that strongroom tells of itself */
  timings: Record<string, number> | null;
  load: number;
};

export type Result = Omit<Run, 'state' | 'subject' | 'round'>;

/** Measured once in all, at no size. */
const EXTRAS = ['total-loss', 'help'] as const;
export type Extra = (typeof EXTRAS)[number];

/** What `only` (comma-separated) names, in the order of the table. Throws for a name that is none. */
export function chosen(only: string | undefined): { subjects: Subject[]; extras: Extra[] } {
  const all = Object.keys(SUBJECTS) as Subject[];
  if (only === undefined) return { subjects: all.filter((name) => SUBJECTS[name].isDefault), extras: [...EXTRAS] };
  const wanted = only.split(',');
  const known: string[] = [...all, ...EXTRAS];
  const unknown = wanted.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Error(`no subject ${unknown.join(', ')}: one of ${known.join(', ')}`);
  return {
    subjects: all.filter((name) => wanted.includes(name)),
    extras: EXTRAS.filter((name) => wanted.includes(name)),
  };
}
