/** What a running process has used, as Linux tells it. */
import { readFile } from 'node:fs/promises';

/** Linux has counted in hundredths of a second for user space for as long as there has been a /proc. */
const TICK_MS = 10;

export type Usage = {
  /** user and system time of all threads since its start, in milliseconds */
  cpuMs: number;
  /** resident now, in bytes */
  rssBytes: number;
  /** the most that was ever resident, in bytes */
  peakBytes: number;
};

/** Rejects when there is no process `pid`, or no /proc. */
export async function usageOf(pid: number): Promise<Usage> {
  const [stat, status] = await Promise.all([
    readFile(`/proc/${pid}/stat`, 'utf8'),
    readFile(`/proc/${pid}/status`, 'utf8'),
  ]);
  // The name, in parentheses, may hold spaces; user and system time are the twelfth and thirteenth field behind it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const kib = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024;
  return {
    cpuMs: (Number(fields[11]) + Number(fields[12])) * TICK_MS,
    rssBytes: kib('VmRSS'),
    peakBytes: kib('VmHWM'),
  };
}
