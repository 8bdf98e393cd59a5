/** Is everything being backed up? Not whether the process lives: that is /healthz. Pure. */
import { judge, LEVELS, type Level, type Reason } from '../observe/verdict.ts';
import type { WatchedStatus } from '../observe/watch.ts';

export type Readiness = {
  ready: boolean;
  /** worst first */
  clusters: { cluster: string; level: Level; recoveryPointAgeSeconds: number | null; reasons: Reason[] }[];
};

/** Ready = no cluster is critical or unknown. A warning is told, and does not make it unready. No cluster at all is not ready. */
export function readiness(watched: readonly WatchedStatus[], now: Date): Readiness {
  const clusters = watched.map(({ status, limits }) => {
    const { level, ageMs, reasons } = judge(status, limits, now);
    return { cluster: status.cluster, level, recoveryPointAgeSeconds: ageMs === null ? null : ageMs / 1000, reasons };
  });
  clusters.sort((a, b) => LEVELS.indexOf(b.level) - LEVELS.indexOf(a.level));
  const isGood = (level: Level): boolean => level === 'ok' || level === 'warning';
  return { ready: clusters.length > 0 && clusters.every(({ level }) => isGood(level)), clusters };
}
