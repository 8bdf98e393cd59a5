/** What something cost, however busy the machine is: not the time on the wall, which others have a part in. */

/** Milliseconds of processor time that this thread has used since `before`, a result of `process.threadCpuUsage()`. */
export function cpuMsSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1000;
}
