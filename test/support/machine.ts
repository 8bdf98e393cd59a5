/** A machine of its own, as far as a lease can tell: a pid namespace, in which nobody outside can be looked up. */
import { readFile } from 'node:fs/promises';
import { until } from './until.ts';

/** The words before a command that run it as process 1 of such a machine; it is killed with whoever started it. */
export const OWN_MACHINE: readonly string[] = [
  'unshare',
  '--user',
  '--map-root-user',
  '--pid',
  '--fork',
  '--mount-proc',
  '--kill-child',
];

/** The pid, seen from here, of the process that `unshare` with pid `outer` started. Waits until it is there. */
export async function processOn(outer: number): Promise<number> {
  return await until('the process on a machine of its own', async () => {
    const children = (await readFile(`/proc/${outer}/task/${outer}/children`, 'utf8')).trim();
    return children === '' ? undefined : Number(children.split(' ')[0]);
  });
}
