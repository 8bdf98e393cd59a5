/** Whatever is at work, however many at once: each line of the log says of which run it is. */
import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { createLog } from '../../../src/core/log.ts';
import { type Around, inScope, inStage, nameScope, scopeFields } from '../../../src/core/scope.ts';

function recorder(): { log: ReturnType<typeof createLog>; lines: string[] } {
  const lines: string[] = [];
  return { log: createLog('debug', { write: (line: string) => void lines.push(line) }), lines };
}

it('outside of every run a line has no more than it says itself', () => {
  const { log, lines } = recorder();
  log.info({ store: 'a' }, 'hello');
  expect(Object.keys(JSON.parse(lines[0] ?? '') as object)).toEqual(['level', 'time', 'store', 'msg']);
});

it('two runs at once, and two stages at once in each, are told apart by a log that knows of none of them', async () => {
  const { log, lines } = recorder();
  const stage = async (name: string): Promise<void> =>
    await inStage(name, async () => {
      await turn();
      log.info({ said: name }, 'in');
    });
  const run = async (cluster: string): Promise<void> =>
    await inScope({ cluster, job: 'backup', run: cluster.toUpperCase() }, async () => {
      await Promise.all([stage('upload a'), stage('upload b')]);
      log.info('after');
    });
  await Promise.all([run('one'), run('two')]);
  const seen = lines.map((line) => JSON.parse(line) as Record<string, string>);
  expect(seen).toHaveLength(6);
  for (const cluster of ['one', 'two']) {
    const own = seen.filter((line) => line['cluster'] === cluster);
    expect(own.map(({ job, run: id, stage: at, said }) => [job, id, at, said])).toEqual([
      ['backup', cluster.toUpperCase(), 'upload a', 'upload a'],
      ['backup', cluster.toUpperCase(), 'upload b', 'upload b'],
      ['backup', cluster.toUpperCase(), undefined, undefined],
    ]);
  }
  expect(scopeFields()).toEqual({});
});

it('a field that the line has itself stands in it once, with its own value', async () => {
  const { log, lines } = recorder();
  await inScope({ cluster: 'one', run: 'R' }, async () => log.warn({ cluster: 'two' }, 'x'));
  expect(lines[0]?.match(/"cluster"/g)).toHaveLength(1);
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ cluster: 'two', run: 'R' });
});

it('a name that is known later is in the lines to come, and in no other scope', async () => {
  const { log, lines } = recorder();
  await inScope({ cluster: 'one' }, async () => {
    log.info('before');
    await inScope({ job: 'verify' }, async () => nameScope({ run: 'inner' }));
    nameScope({ run: 'R' });
    log.info('after');
  });
  expect(lines.map((line) => (JSON.parse(line) as { run?: string }).run)).toEqual([undefined, 'R']);
});

it('puts what watches around each stage, and passes on what the stage gives or throws', async () => {
  const seen: string[] = [];
  const around: Around = async (stage, work) => {
    seen.push(`+${stage}`);
    try {
      return await work();
    } finally {
      seen.push(`-${stage}`);
    }
  };
  const failure = new Error('no');
  await inScope(
    { run: 'R' },
    async () => {
      expect(await inStage('a', () => inStage('b', () => Promise.resolve(7)))).toBe(7);
      await expect(inStage('c', () => Promise.reject(failure))).rejects.toBe(failure);
    },
    around,
  );
  expect(seen).toEqual(['+a', '+b', '-b', '-a', '+c', '-c']);
  expect(await inStage('nobody watches', () => Promise.resolve(1))).toBe(1);
});
