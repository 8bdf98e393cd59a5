import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { processStartTime } from '../../../src/core/process-start.ts';
import { takeLock } from '../../../src/spool/lock.ts';
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
});
