/** A holder that is stopped for longer than its lease lasts, and wakes up: it publishes nothing. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { failureOf } from '../support/backup-trial.ts';
import { KilledRuns } from '../support/killed-runs.ts';
import { OWN_MACHINE, processOn } from '../support/machine.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { runCli, startCli } from '../support/strongroom-cli.ts';
import { until } from '../support/until.ts';

const stopped = new Set<number>();

afterEach(() => {
  // Whatever failed: a stopped process does not even take its end.
  for (const pid of stopped) wake(pid);
});

function stop(pid: number): void {
  process.kill(pid, 'SIGSTOP');
  stopped.add(pid);
}

function wake(pid: number): void {
  stopped.delete(pid);
  try {
    process.kill(pid, 'SIGCONT');
  } catch {
    // it is gone
  }
}

describe('a backup that is stopped in the middle of its upload, past its lease', () => {
  it('publishes nothing when it wakes up: another machine has made the backup', async () => {
    await using runs = await KilledRuns.open(await sharedServer('versitygw'), 2 * 2 ** 20);
    const env = { ...runs.aimed.env, XDG_CACHE_HOME: runs.world.directory };
    for (const where of ['a', 'b'] as const) runs.proxies[where].fail('part', { kind: 'hang' }, 1);
    const args = ['backup', '--json', '--config', runs.aimed.configFile];
    const first = startCli(args, { env, via: OWN_MACHINE });
    const pid = await processOn(first.pid);
    const isUploading = async () =>
      runs.proxies.a.count('part') > 0 && runs.proxies.b.count('part') > 0 ? true : undefined;
    await until('it uploads', isUploading);
    stop(pid);

    // On another machine: another spool, and no way to see that the first still exists.
    const config = await onSecondMachine(runs);
    const second = await runCli(['backup', '--json', '--config', config], { env, via: OWN_MACHINE });
    expect(second.code, second.stderr).toBe(0);
    const { manifest } = JSON.parse(second.stdout) as { manifest: { snapshot: string } };
    expect(second.stderr).toContain('took over the lease of a run that is gone');

    wake(pid);
    const { code, stdout, stderr } = await first.finished;
    expect(code, stderr).toBe(11);
    expect(failureOf({ code, signal: null, stdout, stderr })).toMatchObject({ code: 'E_LOCKED', exitCode: 11 });
    for (const where of ['a', 'b'] as const) {
      const held = await runs.held(where);
      expect([...held.manifests]).toEqual([manifest.snapshot]);
      expect(held.uploads).toEqual([]);
    }
    expect(await runs.leftovers()).toEqual([]);
    expect(await runs.badSights()).toEqual([]);
  });
});

/** The config without the proxies, on a machine with a spool of its own. */
async function onSecondMachine(runs: KilledRuns): Promise<string> {
  const spool = join(runs.world.directory, 'spool-second');
  await mkdir(spool, { mode: 0o700 });
  const text = await readFile(runs.direct.configFile, 'utf8');
  return await runs.world.write('second.yaml', text.replace(runs.world.spool, spool));
}
