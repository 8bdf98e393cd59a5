/** Real runs, of the CronJob's door and of the worker: what each line of their logs says, and what a collector gets. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CliResult, runCli, startCli } from '../support/strongroom-cli.ts';
import { type SeenSpan, TraceCollector } from '../support/trace-collector.ts';
import { type LogLine, WorkerScene } from '../support/worker-scene.ts';
import { RESTORE_POLICY } from '../support/world.ts';

/** Once a year: nothing is due during a test, and what was due in January was missed. */
const YEARLY = { backup: { cron: '0 0 1 1 *' } };
const EVERY_5_S = { backup: { cron: '*/5 * * * * *' } };
const RUN = expect.stringMatching(/^[0-9A-Z]{26}$/) as string;
const STAGES = ['lease', 'preflight', 'publish', 'snapshot', 'sweep', 'upload a', 'upload b'];

let scene: WorkerScene;
beforeAll(async () => {
  scene = await WorkerScene.open(YEARLY);
});
afterAll(async () => {
  await scene?.[Symbol.asyncDispose]();
});

async function cli(args: readonly string[], env: Record<string, string> = {}): Promise<CliResult> {
  return await runCli([...args, '--config', scene.config], { env });
}

async function writePolicy(policy: 'all' | { quorum: number }): Promise<void> {
  await scene.change((document) => {
    const clusters = document['clusters'] as Record<string, Record<string, unknown>>;
    Object.assign(clusters['prod'] ?? {}, { writePolicy: policy });
  });
}

const linesOf = ({ stderr }: CliResult): LogLine[] =>
  stderr
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as LogLine);

/** None of what opens anything may leave by a trace or a log. */
function expectNoSecrets(text: string): void {
  const { breakGlass, signing } = scene.world.secrets;
  for (const secret of [breakGlass, signing.split('\n')[1], scene.cluster.rootToken, ...scene.cluster.unsealShares]) {
    expect(secret?.length).toBeGreaterThan(15);
    expect(text).not.toContain(secret);
  }
  expect(text).not.toMatch(/AGE-SECRET-KEY-|PRIVATE KEY|hvs\.|\bs\.[A-Za-z0-9]{20}/);
}

const isRunOf =
  (job: string, known: readonly string[] = []) =>
  ({ name, attributes, spanId }: SeenSpan): boolean =>
    name === job && 'strongroom.run' in attributes && !known.includes(spanId);

describe('a worker', () => {
  it('makes of what it asks for, takes and runs one trace, and of each scheduled run a trace of its own', async () => {
    await using collector = await TraceCollector.start();
    await scene.change((document) => {
      document['tracing'] = { endpoint: collector.url };
    });
    const worker = scene.worker();
    const run = await collector.span('the run that was missed', isRunOf('backup'));
    expect(run.attributes).toMatchObject({
      'strongroom.cluster': 'prod',
      'strongroom.job': 'backup',
      'strongroom.run': RUN,
      'strongroom.door': 'catch-up',
      'strongroom.outcome': 'done',
    });
    expect(collector.below(run).toSorted()).toEqual(STAGES);
    const taken = await collector.span('taking it', ({ spanId }) => spanId === run.parentSpanId);
    expect(taken.name).toBe('process backup');
    const asked = await collector.span('asking for it', ({ spanId }) => spanId === taken.parentSpanId);
    expect([asked.name, asked.parentSpanId]).toEqual(['add backup.prod.backup', '']);

    await scene.schedule(EVERY_5_S);
    const first = await collector.span('a scheduled run', isRunOf('backup', [run.spanId]));
    const second = await collector.span('the next one', isRunOf('backup', [run.spanId, first.spanId]));
    expect(new Set([run, first, second].map(({ traceId }) => traceId)).size).toBe(3);
    for (const { attributes, parentSpanId } of [first, second]) {
      expect(attributes['strongroom.door']).toBe('schedule');
      const process = await collector.span('taking it', ({ spanId }) => spanId === parentSpanId);
      expect([process.name, process.parentSpanId]).toEqual(['process backup', '']);
    }
    await scene.schedule(YEARLY);
    expect((await worker.end()).code).toBe(0);
    expect(
      collector.spans.map(({ name }) => name).filter((name) => /getNextJob|extendLocks|Stalled/.test(name)),
    ).toEqual([]);
    expectNoSecrets(collector.text + worker.stderr);

    const id = run.attributes['strongroom.run'];
    const ofRun = worker.lines.filter((line) => line['run'] === id);
    expect(ofRun.map(({ msg }) => msg)).toEqual(expect.arrayContaining(['run begins', 'stage ended', 'run ended']));
    for (const line of ofRun) expect(line).toMatchObject({ cluster: 'prod', job: 'backup' });
    expect(ofRun.find(({ msg }) => msg === 'run begins')).toMatchObject({ traceId: run.traceId });
  });

  it('names the run that failed', async () => {
    const copies = join(scene.world.directory, 'b');
    await scene.change((document) => {
      delete document['tracing'];
    });
    const worker = scene.worker();
    await worker.says('the worker takes jobs');
    await rm(copies, { recursive: true });
    await writeFile(copies, 'no folder');
    await scene.schedule(EVERY_5_S);
    expect(await worker.says('run failed')).toMatchObject({ cluster: 'prod', job: 'backup', run: RUN });
    await worker.end();
    await rm(copies);
    await mkdir(copies);
    await scene.schedule(YEARLY);
  });
});

describe('the log of a run', () => {
  it.each([[['job', 'run', 'backup']], [['backup']]])(
    'by strongroom %j says of every line which run it is of, and in which stage where it is in one',
    async (command) => {
      const result = await cli([...command, '--json']);
      expect(result.code, result.stderr).toBe(0);
      const lines = linesOf(result);
      const { run } = (JSON.parse(result.stdout) as { manifest: { run: string } }).manifest;
      for (const line of lines) expect(line).toMatchObject({ cluster: 'prod', job: 'backup', run });
      const stages = lines.filter(({ msg }) => msg === 'stage ended').map(({ stage }) => stage);
      expect(new Set(stages)).toEqual(new Set(STAGES));
      if (command[0] === 'job') expect(lines.at(-1)).toMatchObject({ msg: 'run ended', outcome: 'done' });
    },
  );

  it('says of a warning from deep below in which stage it was', async () => {
    const copies = join(scene.world.directory, 'b');
    await writePolicy({ quorum: 1 });
    await rm(copies, { recursive: true });
    await writeFile(copies, 'no folder');
    const result = await cli(['job', 'run', 'backup', '--json']);
    await rm(copies);
    await mkdir(copies);
    await writePolicy('all');
    expect(result.code, result.stderr).toBe(3);
    const lines = linesOf(result).filter(({ level }) => level !== undefined);
    for (const line of lines) expect(line).toMatchObject({ cluster: 'prod', job: 'backup', run: RUN });
    const warnings = lines.filter(({ level }) => Number(level) >= 40);
    expect(warnings.map(({ stage }) => stage)).toContain('lease');
    expect(lines.at(-1)).toMatchObject({ msg: 'run ended', outcome: 'partly' });
  });

  it('is for eyes with --pretty, and says the same', async () => {
    const result = await cli(['job', 'run', 'backup', '--json', '--pretty']);
    expect(result.code, result.stderr).toBe(0);
    const lines = result.stderr.trimEnd().split('\n');
    for (const line of lines) expect(line).toMatch(/^\d\d:\d\d:\d\d\.\d{3} {2}(?:debug|info ) {2}prod backup/);
    expect(lines.at(-1)).toMatch(/ {2}run ended {2}run=[0-9A-Z]{26} outcome=done$/);
  });
});

describe('job run, with a collector named by the environment', () => {
  it('sends one trace with all stages below the run', async () => {
    await using collector = await TraceCollector.start();
    const result = await cli(['job', 'run', 'backup', '--json'], { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
    expect(result.code, result.stderr).toBe(0);
    const run = await collector.span('the run', isRunOf('backup'));
    const { manifest } = JSON.parse(result.stdout) as { manifest: { run: string } };
    expect(run).toMatchObject({ parentSpanId: '', isFailed: false });
    expect(run.attributes).toMatchObject({
      'strongroom.run': manifest.run,
      'strongroom.door': 'command',
      'strongroom.outcome': 'done',
    });
    expect(collector.below(run).toSorted()).toEqual(STAGES);
    const stages = collector.spans.filter(({ parentSpanId }) => parentSpanId === run.spanId);
    for (const { ms } of stages) expect(ms).toBeLessThanOrEqual(run.ms + 1);
    for (const line of linesOf(result)) {
      if (line['run'] !== undefined && line.msg !== 'run ended') expect(line['traceId']).toBe(run.traceId);
    }
    expectNoSecrets(collector.text + result.stderr);
  });

  it('sends a trace of a restore, and of its plan alone as of one that ended well', async () => {
    await using collector = await TraceCollector.start();
    await scene.world.grant(scene.cluster, RESTORE_POLICY);
    expect((await cli(['job', 'run', 'backup'])).code).toBe(0);
    const shares = await scene.world.write('shares', `${scene.cluster.unsealShares.join('\n')}\n`);
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url };
    const planned = await cli(['restore', '--dry-run', '--json'], env);
    expect(planned.code, planned.stderr).toBe(0);
    expect(JSON.parse(planned.stdout)).toMatchObject({ plan: { into: 'prod' } });
    const plan = await collector.span('the plan', isRunOf('restore'));
    expect(plan).toMatchObject({ parentSpanId: '', isFailed: false, attributes: { 'strongroom.outcome': 'done' } });
    expect(collector.below(plan).toSorted()).toEqual(['fetch', 'lease']);

    const result = await cli(['restore', '--confirm', 'prod', '--shares', `file:${shares}`, '--json'], env);
    expect(result.code, result.stderr).toBe(0);
    const run = await collector.span('the restore', isRunOf('restore', [plan.spanId]));
    expect(run).toMatchObject({ parentSpanId: '', isFailed: false, attributes: { 'strongroom.outcome': 'done' } });
    expect(collector.below(run).toSorted()).toEqual(['fetch', 'install', 'lease', 'prove', 'safety']);
    const lines = linesOf(result).filter(({ level }) => level !== undefined);
    expect(lines.map(({ msg }) => msg)).toContain('restored');
    const id = run.attributes['strongroom.run'];
    for (const line of lines) expect(line).toMatchObject({ cluster: 'prod', job: 'restore', run: id });
    expectNoSecrets(collector.text + result.stderr);
  });

  it('of a failed run the trace says where and with what code', async () => {
    await using collector = await TraceCollector.start();
    const copies = join(scene.world.directory, 'b');
    await rm(copies, { recursive: true });
    await writeFile(copies, 'no folder');
    const result = await cli(['job', 'run', 'backup', '--json'], { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
    await rm(copies);
    await mkdir(copies);
    expect(result.code).not.toBe(0);
    const { error } = JSON.parse(result.stderr.trimEnd().split('\n').at(-1) ?? '') as { error: { code: string } };
    const run = await collector.span('the run', isRunOf('backup'));
    expect(run).toMatchObject({
      isFailed: true,
      attributes: { 'error.type': error.code, 'strongroom.outcome': 'failed' },
    });
    expect(collector.spans.some(({ isFailed, parentSpanId }) => isFailed && parentSpanId === run.spanId)).toBe(true);
  });

  it.each(['nobody listens', 'nobody answers'])(
    'where %s the backup is made all the same, and said so once',
    async (how) => {
      await using silent = await TraceCollector.start('hang');
      const url = how === 'nobody answers' ? silent.url : 'http://127.0.0.1:1';
      // From the last word of the run: what was before it is the run's own time.
      let endedAt = 0;
      const running = startCli(['job', 'run', 'backup', '--json', '--config', scene.config], {
        env: { OTEL_EXPORTER_OTLP_ENDPOINT: url },
        onStderr: (text) => {
          if (text.includes('"run ended"')) endedAt = performance.now();
        },
      });
      const result = await running.finished;
      expect(performance.now() - endedAt).toBeLessThan(8_000);
      expect(result.code, result.stderr).toBe(0);
      const told = linesOf(result).filter(({ msg }) => msg.startsWith('the collector'));
      expect(told).toMatchObject([{ msg: 'the collector takes no traces: they are lost', collector: url }]);
    },
  );
});
