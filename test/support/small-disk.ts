/** A file system of a few MiB in the place of a folder, which only the runs started on it see: one that can be filled. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { baseEnv } from './process.ts';

/** Mounts, tells the size it was told, and holds it until its standard input ends. */
const HOLD = 'mount -t tmpfs -o "size=$1" none "$0" && echo mounted && cat >/dev/null';
/** As root, or, where that is allowed, as root of a namespace of one's own. */
const WAYS = [
  { unshare: ['-m'], nsenter: ['-m'] },
  { unshare: ['-r', '-m'], nsenter: ['-U', '--preserve-credentials', '-m'] },
] as const;
const FILL = 'fill';

export class SmallDisk implements AsyncDisposable {
  /** the folder as the runs see it, from outside */
  readonly path: string;
  /** what starts a program on it */
  readonly via: readonly string[];
  readonly #holder: ChildProcess;

  private constructor(folder: string, holder: ChildProcess, nsenter: readonly string[]) {
    this.path = join('/proc', String(holder.pid), 'root', folder);
    this.via = ['nsenter', '-t', String(holder.pid), ...nsenter, '--'];
    this.#holder = holder;
  }

  /** `folder` must be there. The caller disposes of it when no run is on it any more. Throws where nobody may mount. */
  static async mount(folder: string, bytes: number): Promise<SmallDisk> {
    const refused: string[] = [];
    for (const { unshare, nsenter } of WAYS) {
      const holder = spawn('unshare', [...unshare, 'sh', '-c', HOLD, folder, String(bytes)], {
        env: baseEnv(),
        stdio: ['pipe', 'pipe', 'pipe'],
      });
      let said = '';
      holder.stderr.setEncoding('utf8').on('data', (text: string) => {
        said += text;
      });
      const ended = once(holder, 'close').then(() => false);
      if (await Promise.race([once(holder.stdout, 'data').then(() => true), ended])) {
        return new SmallDisk(folder, holder, nsenter);
      }
      refused.push(said.trim());
    }
    throw new Error(
      `no disk of our own can be mounted: run it as root, or allow user namespaces (${refused.join('; ')})`,
    );
  }

  /** Takes all that is free but for `leave` bytes, rounded down to pages. Fill it again with more to leave to make room. */
  async fill(leave = 0): Promise<void> {
    const path = join(this.path, FILL);
    await rm(path, { force: true });
    const file = await open(path, 'w');
    try {
      const piece = Buffer.alloc(2 ** 20, 1);
      let size = 0;
      try {
        for (;;) size += (await file.write(piece)).bytesWritten;
      } catch (e) {
        if (!(e instanceof Error && 'code' in e && e.code === 'ENOSPC')) throw e;
      }
      await file.truncate(Math.max(0, size - leave));
    } finally {
      await file.close();
    }
  }

  /** Takes away what {@link fill} took. */
  async empty(): Promise<void> {
    await rm(join(this.path, FILL), { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#holder, 'close');
    this.#holder.stdin?.end();
    await closed;
  }
}
