import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { processStartTime } from '../../../src/core/process-start.ts';
import { takeLock as take } from '../../../src/spool/lock.ts';
import { until } from '../../support/until.ts';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'strongroom-lock-'));
  path = join(folder, 'lock');
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});
const now = new Date();
const never = new AbortController().signal;
const takeLock = async (where: string, run: string, at: Date): Promise<AsyncDisposable> =>
  await take(where, run, at, { fromSilent: false }, never);

describe('the lock of a cluster', () => {
  it('is held by one, released at the end, and leaves nothing behind', async () => {
    {
      await using _held = await takeLock(path, 'run-1', now);
      await expect(takeLock(path, 'run-2', now)).rejects.toMatchObject({ code: 'E_LOCKED' });
    }
    await using _again = await takeLock(path, 'run-3', now);
    expect(await readdir(folder)).toEqual(['lock']);
  });

  it('goes to exactly one of many that start at once', async () => {
    const tries = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => takeLock(path, `run-${i}`, now)));
    const won = tries.filter((t) => t.status === 'fulfilled');
    expect(won).toHaveLength(1);
    for (const t of won) await t.value[Symbol.asyncDispose]();
  });

  it('is taken from a holder that was killed', async () => {
    const child = spawn(process.execPath, ['-e', 'process.stdin.resume()'], { stdio: ['pipe', 'ignore', 'ignore'] });
    const pid = child.pid ?? 0;
    const holder = { pid, startTime: processStartTime(pid), host: hostname(), run: 'dead', since: now.toISOString() };
    await writeFile(path, JSON.stringify(holder));
    await expect(takeLock(path, 'run-1', now)).rejects.toMatchObject({ code: 'E_LOCKED' });
    child.kill('SIGKILL');
    await once(child, 'exit');
    await using _taken = await takeLock(path, 'run-2', now);
    expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ run: 'run-2' });
  });

  it('is taken from one that was killed and that nobody has buried', async () => {
    // The shell becomes a program that never asks what became of its child: so does process 1 of many containers.
    const script = 'sleep 60 & echo $!; exec sleep 60';
    const parent = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'] });
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    const pid = Number(line.toString());
    const holder = { pid, startTime: processStartTime(pid), host: hostname(), run: 'dead', since: now.toISOString() };
    await writeFile(path, JSON.stringify(holder));
    await expect(takeLock(path, 'run-1', now)).rejects.toMatchObject({ code: 'E_LOCKED' });
    process.kill(pid, 'SIGKILL');
    await until('it is a zombie', async () => / Z /.exec(await readFile(`/proc/${pid}/stat`, 'utf8')) ?? undefined);
    try {
      await using _taken = await takeLock(path, 'run-2', now);
    } finally {
      parent.kill('SIGKILL');
      await once(parent, 'exit');
    }
  });

  it('removes what a process that was killed inside left beside it, and only that', async () => {
    const holder = { host: hostname(), run: 'x', since: now.toISOString() };
    const live = { ...holder, pid: process.pid, startTime: processStartTime(process.pid) };
    await writeFile(`${path}.77777.dead`, JSON.stringify({ ...holder, pid: process.pid, startTime: '1' }));
    await writeFile(`${path}.${process.pid}.live`, JSON.stringify(live));
    await writeFile(`${path}.0.empty`, '');
    await using _taken = await takeLock(path, 'run-1', now);
    expect((await readdir(folder)).sort()).toEqual(['lock', 'lock.0.empty', `lock.${process.pid}.live`]);
  });

  it('is not fooled by another process with the same pid', async () => {
    const holder = { pid: process.pid, startTime: '1', host: hostname(), run: 'old', since: now.toISOString() };
    await writeFile(path, JSON.stringify(holder));
    await using _taken = await takeLock(path, 'run-1', now);
  });

  it('respects a holder on another host while its heart beats', async () => {
    await writeFile(path, JSON.stringify({ pid: 1, startTime: '1', host: 'elsewhere', run: 'far', since: '' }));
    await expect(takeLock(path, 'run-1', now)).rejects.toMatchObject({ code: 'E_LOCKED' });
    const longAgo = new Date(Date.now() - 600_000);
    await utimes(path, longAgo, longAgo);
    await using _taken = await takeLock(path, 'run-2', now);
  });

  describe('whose holder is there and gives no sign of life', () => {
    const BEAT_MS = 100;
    const takeFromSilent = async (run: string, signal = never): Promise<AsyncDisposable> =>
      await take(path, run, now, { fromSilent: true, beatMs: BEAT_MS }, signal);
    let hung: ChildProcess;
    let text: string;
    beforeEach(async () => {
      hung = spawn(process.execPath, ['-e', 'process.stdin.resume()'], { stdio: ['pipe', 'ignore', 'ignore'] });
      const pid = hung.pid ?? 0;
      text = JSON.stringify({ pid, startTime: processStartTime(pid), host: hostname(), run: 'hung', since: '' });
      await writeFile(path, text);
      const longAgo = new Date(Date.now() - 600_000);
      await utimes(path, longAgo, longAgo);
    });
    afterEach(async () => {
      hung.kill('SIGKILL');
      await once(hung, 'exit');
    });

    it('is refused to one that nothing else would keep apart from it, with the process to look at', async () => {
      await expect(takeLock(path, 'run-1', now)).rejects.toMatchObject({
        code: 'E_LOCKED',
        hint: expect.stringContaining(`kill -9 ${hung.pid}`) as string,
      });
      expect(await readFile(path, 'utf8')).toBe(text);
    });

    it('goes to one that may, when it has watched for more than a beat', async () => {
      const begun = performance.now();
      await using _taken = await takeFromSilent('run-1');
      expect(performance.now() - begun).toBeGreaterThanOrEqual(BEAT_MS);
      expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ run: 'run-1' });
    });

    /** Its heart beats by a clock that is hours behind, for several of the spans that somebody watches it; then `act`. */
    const beatFor = async (beats: number, act: () => Promise<unknown>): Promise<void> => {
      for (let beat = 1; beat <= beats; beat += 1) {
        const time = new Date(Date.now() - 3_600_000);
        await utimes(path, time, time);
        await delay(BEAT_MS / 4);
      }
      await act();
    };

    it('stays its own while it beats, however wrong the clock is', async () => {
      const taking = takeFromSilent('run-1').catch((e: unknown) => e);
      await beatFor(20, async () => await utimes(path, new Date(), new Date()));
      expect(await taking).toMatchObject({ code: 'E_LOCKED' });
      expect(await readFile(path, 'utf8')).toBe(text);
    });

    it('is free when it has ended meanwhile', async () => {
      const taking = takeFromSilent('run-1');
      await beatFor(20, async () => await rm(path));
      await using _taken = await taking;
      expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ run: 'run-1' });
    });

    it('is not waited for when the run is stopped', async () => {
      const stop = new AbortController();
      const reason = new Error('stopped');
      const taking = takeFromSilent('run-1', stop.signal);
      stop.abort(reason);
      await expect(taking).rejects.toBe(reason);
    });
  });

  it('is not removed by a former holder that ends late', async () => {
    const former = await takeLock(path, 'former', now);
    const later = JSON.stringify({ pid: process.pid, startTime: '1', host: hostname(), run: 'later', since: '' });
    await writeFile(path, later);
    await former[Symbol.asyncDispose]();
    expect(await readFile(path, 'utf8')).toBe(later);
    expect(await readdir(folder)).toEqual(['lock']);
  });
});
