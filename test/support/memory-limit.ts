/** A hard limit on the memory of a process and all its children: a control group of the kernel, as of a container. */
import { randomUUID } from 'node:crypto';
import { access, mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from './until.ts';

/*
 * Not `ulimit -v`: V8 reserves tens of GiB of addresses and uses few of them, so a limit on addresses says nothing about
 * memory. Linux does not enforce a limit on resident pages (`ulimit -m`) at all.
 */
const V1 = '/sys/fs/cgroup/memory';
const V2 = '/sys/fs/cgroup';

export class MemoryLimit implements AsyncDisposable {
  /** what starts a program in the group */
  readonly via: readonly string[];
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
    this.via = ['sh', '-c', 'echo $$ > "$0/cgroup.procs" && exec "$@"', directory];
  }

  /** The caller disposes of it when every process in it has ended. Throws where no group can be made, and says why. */
  static async create(bytes: number): Promise<MemoryLimit> {
    const name = `strongroom-${randomUUID()}`;
    const isV1 = await isThere(join(V1, 'memory.limit_in_bytes'));
    const directory = join(isV1 ? V1 : V2, name);
    try {
      if (!isV1) await writeFile(join(V2, 'cgroup.subtree_control'), '+memory');
      await mkdir(directory);
    } catch (e) {
      throw new Error(
        `no control group can be made in ${isV1 ? V1 : V2}: it takes root, and cgroups that are writable`,
        {
          cause: e,
        },
      );
    }
    const group = new MemoryLimit(directory);
    try {
      await writeFile(join(directory, isV1 ? 'memory.limit_in_bytes' : 'memory.max'), String(bytes));
      // With swap it would be no limit.
      const swap = join(directory, isV1 ? 'memory.memsw.limit_in_bytes' : 'memory.swap.max');
      if (await isThere(swap)) await writeFile(swap, isV1 ? String(bytes) : '0');
    } catch (e) {
      await group[Symbol.asyncDispose]();
      throw new Error(`the control group ${directory} takes no limit on memory`, { cause: e });
    }
    return group;
  }

  /** How many processes were killed because they wanted more. */
  async kills(): Promise<number> {
    for (const file of ['memory.oom_control', 'memory.events']) {
      const text = await readFile(join(this.#directory, file), 'utf8').catch(() => '');
      const kills = /^oom_kill (\d+)$/m.exec(text)?.[1];
      if (kills !== undefined) return Number(kills);
    }
    throw new Error(`${this.#directory} does not tell its kills`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A process that has just ended may still be counted.
    await until(`${this.#directory} is removed`, async () => {
      await rmdir(this.#directory);
      return true;
    });
  }
}

async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
