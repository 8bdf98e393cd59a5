/** `strongroom job run`: several at the same instant, without any queue; and command lines that make no sense. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { failureOf } from '../support/backup-trial.ts';
import { OWN_MACHINE } from '../support/machine.ts';
import { type CliResult, runCli } from '../support/strongroom-cli.ts';
import { WorkerScene } from '../support/worker-scene.ts';

const stack = new AsyncDisposableStack();
let scene: WorkerScene;

beforeAll(async () => {
  scene = stack.use(await WorkerScene.open({ backup: { cron: '30 4 1 1 *' } }));
});
afterAll(() => stack.disposeAsync());

async function connectionsSoFar(): Promise<number> {
  return Number((await scene.redis.info('stats')).get('total_connections_received'));
}

/** One more snapshot in each destination, made by one of `results`; the others say by whom. */
async function expectOne(before: Record<'a' | 'b', string[]>, results: readonly CliResult[]): Promise<void> {
  const after = await scene.manifests();
  for (const where of ['a', 'b'] as const) {
    const fresh = after[where].filter((id) => !before[where].includes(id));
    expect(fresh, `${where}\n${results.map(({ stderr }) => stderr).join('\n')}`).toHaveLength(1);
  }
  expect(after.a).toEqual(after.b);
  expect(results.map(({ code }) => code)).toEqual(results.map(() => 0));
  const others = results.filter(({ stdout }) => /backup of prod was done meanwhile by run [0-9A-Z]{26}/.test(stdout));
  expect(others).toHaveLength(results.length - 1);
}

describe('five at the same instant', () => {
  it('on one machine make one backup, and do not ask Redis, which is configured', async () => {
    const before = await scene.manifests();
    const connections = await connectionsSoFar();
    const results = await Promise.all([1, 2, 3, 4, 5].map(() => scene.cli('job', 'run', 'backup')));
    await expectOne(before, results);
    expect((await connectionsSoFar()) - connections).toBe(1);
  });

  it('on five machines make one backup', async () => {
    const before = await scene.manifests();
    const configs = await Promise.all([1, 2, 3, 4, 5].map((n) => scene.configOn(`machine-${n}`)));
    const results = await Promise.all(
      configs.map((config) => runCli(['job', 'run', 'backup', '--config', config], { via: OWN_MACHINE })),
    );
    await expectOne(before, results);
  });

  it('and whoever comes after them makes its own', async () => {
    const before = await scene.manifests();
    expect(await scene.cli('job', 'run', 'backup')).toMatchObject({ code: 0 });
    expect((await scene.manifests()).a).toHaveLength(before.a.length + 1);
  });
});

describe('a command line that makes no sense', () => {
  it.each([
    { args: ['job', 'run', 'backup', '--lock-wait', 'nonsense'], says: /lockWait|lock-wait/, and: /nonsense/ },
    { args: ['job', 'run', 'backup', '--lock-wait'], says: /lockWait|lock-wait/, and: /./ },
    { args: ['job', 'run', 'backup', '--lock-wait', '-5m'], says: /lockWait|lock-wait/, and: /./ },
    { args: ['job', 'run', 'bakcup'], says: /there is no job "bakcup"/, and: /backup/ },
    { args: ['job', 'run'], says: /name/, and: /./ },
    { args: ['job', 'run', 'backup', '--lockwait', '5m'], says: /lockwait/, and: /./ },
    { args: ['worker', '--bogus'], says: /bogus/, and: /./ },
    { args: ['worker', 'extra'], says: /extra|argument/, and: /./ },
  ])('$args ends with 2, and says what, where and what next', async ({ args, says, and }) => {
    const result = await scene.cli(...args, '--json');
    expect(result.code).toBe(2);
    const failure = failureOf(result);
    expect(failure).toMatchObject({ code: 'E_USAGE', exitCode: 2, message: expect.stringMatching(says) as string });
    expect(`${failure.message}; ${failure.hint}`).toMatch(and);
    expect(failure.hint).not.toBe('');
    expect(result.stdout).toBe('');
  });

  it('that names no cluster of the config is about the config, and says which there are', async () => {
    const result = await scene.cli('job', 'run', 'backup', '--cluster', 'prdo', '--json');
    expect(failureOf(result).hint + failureOf(result).message).toMatch(/prod/);
    expect(result.code).not.toBe(0);
  });
});
