/** What /metrics says: only what is in the table, only where a fact is behind it, and counted when it is asked. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import { clusterSamples } from '../../../src/observe/cluster-metrics.ts';
import { collectSamples, renderSamples, type Sample } from '../../../src/observe/exposition.ts';
import { unknownStatus } from '../../../src/observe/merge.ts';
import {
  CLUSTER_METRICS,
  METRICS,
  PROCESS_METRICS,
  renderMetrics,
  WORKER_METRICS,
} from '../../../src/observe/metrics.ts';
import { processSamples } from '../../../src/observe/process-metrics.ts';
import type { Limits } from '../../../src/observe/verdict.ts';
import { WorkerMetrics } from '../../../src/observe/worker-metrics.ts';
import type { ScheduledJob } from '../../../src/queue/plan.ts';
import type { Work } from '../../../src/queue/worker.ts';
import { at, HOUR, Scene } from './scene.ts';

const limits: Limits = { maxAgeMs: 12 * HOUR, maxProofAgeMs: 24 * HOUR, maxStatusAgeMs: null };
const since = at(0);
let scene: Scene;

beforeEach(async () => {
  scene = await Scene.create();
});
afterEach(async () => {
  await scene[Symbol.asyncDispose]();
});

const valueOf = (samples: readonly Sample[], name: string, labels: Record<string, string> = {}): number | undefined =>
  samples.find((one) => one.name === name && Object.entries(labels).every(([key, value]) => one.labels[key] === value))
    ?.value;
const namesOf = (samples: readonly Sample[]): string[] => [...new Set(samples.map(({ name }) => name))].sort();

describe('the metrics of a cluster', () => {
  it('are all there when everything is known, and say what is stored', async () => {
    const snapshot = await scene.backup(at(6));
    await scene.proof(at(7), snapshot, 'a');
    await scene.run(at(5));
    await scene.run(at(6), { outcome: 'partly', missing: ['b'] });
    const status = await scene.status(at(8));
    for (const destination of status.destinations) destination.locks = [at(9), at(7), null, at(20)];
    const windows = [{ from: at(6), to: at(7) }];
    const membership = { inventory: [{ id: 'n1', address: 'n1:8201' }], windows };
    const samples = clusterSamples({ status, since }, { ...limits, membership }, at(8));
    expect(namesOf(samples)).toEqual(Object.keys(CLUSTER_METRICS).sort());
    const said = (name: string, labels?: Record<string, string>) => valueOf(samples, `strongroom_${name}`, labels);
    expect(said('recovery_point_age_seconds', { cluster: 'prod' })).toBe(7200);
    expect(said('recovery_point_limit_seconds')).toBe(43_200);
    expect(said('status_age_seconds')).toBe(0);
    expect(said('snapshot_bytes')).toBe(4096);
    expect(said('snapshot_records')).toBe(17);
    expect(said('whole_known')).toBe(1);
    expect(said('membership_drift')).toBe(0);
    // The archive names no member at all, and no window is open.
    const undeclared = { ...limits, membership: { ...membership, windows: [] } };
    const drifted = clusterSamples({ status, since }, undeclared, at(8));
    expect(valueOf(drifted, 'strongroom_membership_drift')).toBe(1);
    expect(valueOf(drifted, 'strongroom_verdict', { level: 'critical' })).toBe(1);
    expect(valueOf(clusterSamples({ status, since }, limits, at(8)), 'strongroom_membership_drift')).toBeUndefined();
    expect(said('newest_backup_bytes', { destination: 'b' })).toBe(30);
    expect(said('newest_backup_timestamp_seconds', { destination: 'b' })).toBe(at(6).getTime() / 1000);
    expect(said('last_proof_timestamp_seconds', { destination: 'a' })).toBe(at(7).getTime() / 1000);
    expect(said('last_proof_timestamp_seconds', { destination: 'b' })).toBeUndefined();
    expect(said('copies_bad', { destination: 'b' })).toBe(0);
    expect(said('copies_missing', { destination: 'b' })).toBe(0);
    expect(said('destination_up', { destination: 'b' })).toBe(1);
    expect(said('lock_coverage_ratio', { destination: 'a' })).toBe(0.5);
    expect(said('last_run_failed', { job: 'backup' })).toBe(1);
    expect(said('run_failures_since_success', { job: 'backup' })).toBe(1);
    expect(said('last_run_timestamp_seconds', { job: 'backup' })).toBe(at(6).getTime() / 1000);
    expect(said('last_success_timestamp_seconds', { job: 'backup' })).toBe(at(5).getTime() / 1000);
    expect(said('stage_duration_seconds', { job: 'backup', stage: 'take' })).toBe(20);
    expect(said('verdict', { level: 'warning' })).toBe(1);
    expect(said('verdict', { level: 'ok' })).toBe(0);
  });

  it('grow old by themselves: nothing is counted when it is read', async () => {
    await scene.backup(at(6));
    const status = await scene.status(at(7));
    const later = clusterSamples({ status, since }, limits, at(30));
    expect(valueOf(later, 'strongroom_recovery_point_age_seconds')).toBe(24 * 3600);
    expect(valueOf(later, 'strongroom_status_age_seconds')).toBe(23 * 3600);
    expect(valueOf(later, 'strongroom_verdict', { level: 'critical' })).toBe(1);
  });

  it('say nothing good of what was never read', () => {
    const away = new StrongroomError('E_STORE_DENIED', 'no');
    const status = unknownStatus('prod', ['a'], away);
    const samples = clusterSamples({ status, since }, { ...limits, maxAgeMs: null }, at(1));
    expect(namesOf(samples)).toEqual([
      'strongroom_destination_up',
      'strongroom_proof_age_limit_seconds',
      'strongroom_status_age_seconds',
      'strongroom_verdict',
    ]);
    expect(valueOf(samples, 'strongroom_destination_up')).toBe(0);
    expect(valueOf(samples, 'strongroom_status_age_seconds')).toBe(3600);
    expect(valueOf(samples, 'strongroom_verdict', { level: 'ok' })).toBe(0);
    expect(valueOf(samples, 'strongroom_verdict', { level: 'critical' })).toBe(1);
  });

  it('have no age where there is no whole backup, however good the newest is', async () => {
    await scene.backup(at(6), { in: ['a'] });
    const samples = clusterSamples({ status: await scene.status(at(7)), since }, limits, at(7));
    expect(valueOf(samples, 'strongroom_recovery_point_age_seconds')).toBeUndefined();
    expect(valueOf(samples, 'strongroom_whole_known')).toBe(1);
    expect(valueOf(samples, 'strongroom_copies_missing', { destination: 'b' })).toBe(1);
    expect(valueOf(samples, 'strongroom_newest_backup_timestamp_seconds', { destination: 'b' })).toBeUndefined();
  });
});

describe('the metrics of a worker', () => {
  const work: Work = { cluster: 'prod', job: 'backup', dueAt: at(0), isCatchUp: false, isLastTry: false };
  const job: ScheduledJob = {
    id: 'prod.backup',
    cluster: 'prod',
    job: 'backup',
    queue: 'backup',
    schedule: { cron: '0 */6 * * *', timeZone: 'UTC', jitterMs: 0, key: 'prod backup' },
  };
  const depth = { backup: { waiting: 2, active: 1 }, upkeep: { waiting: 0 } };
  const options = {
    scheduled: () => [job],
    queues: ['backup', 'upkeep'],
    depth: () => Promise.resolve(depth),
  } as const;

  it('are all there from the start, and count from zero', async () => {
    const samples = await new WorkerMetrics(options).samples(at(1));
    expect(namesOf(samples)).toEqual(Object.keys(WORKER_METRICS).sort());
    expect(valueOf(samples, 'strongroom_runs_total', { cluster: 'prod', job: 'backup', outcome: 'failed' })).toBe(0);
    expect(valueOf(samples, 'strongroom_queue_depth', { queue: 'backup', state: 'waiting' })).toBe(2);
    expect(valueOf(samples, 'strongroom_queue_up')).toBe(1);
    expect(valueOf(samples, 'strongroom_schedule_next_timestamp_seconds')).toBe(at(6).getTime() / 1000);
  });

  it('count each end of a run as what it was', async () => {
    const metrics = new WorkerMetrics(options);
    const failed = (error: unknown, willRetry: boolean) => metrics.onEvent({ kind: 'failed', work, error, willRetry });
    metrics.onEvent({ kind: 'started', work });
    metrics.onEvent({ kind: 'ended', work, result: { run: 'r', outcome: 'done' } });
    metrics.onEvent({ kind: 'ended', work, result: { run: 'r', outcome: 'partly' } });
    metrics.onEvent({ kind: 'ended', work, result: { run: 'r', outcome: 'partly' } });
    metrics.onEvent({ kind: 'ended', work, result: { doneBy: 'another' } });
    failed(new StrongroomError('E_VAULT_SEALED', 'x'), true);
    failed(new Error('foreign'), false);
    failed(new StrongroomError('E_LOCKED', 'x'), true);
    failed(new StrongroomError('E_INTERRUPTED', 'x'), true);
    metrics.onEvent({ kind: 'stalled', queue: 'upkeep', jobId: '1' });
    metrics.onEvent({ kind: 'queue-error', error: new Error('gone') });
    metrics.onEvent({ kind: 'scheduled', set: ['prod.backup'], removed: [] });
    metrics.onMissed(job);
    metrics.onBlind(job);
    metrics.onLockWait(work, 1500);
    metrics.onLockWait(work, 500);
    const samples = await metrics.samples(at(1));
    const runs = (outcome: string) => valueOf(samples, 'strongroom_runs_total', { outcome });
    expect(['done', 'partly', 'failed', 'locked', 'skipped', 'interrupted'].map(runs)).toEqual([1, 2, 2, 1, 1, 1]);
    expect(valueOf(samples, 'strongroom_retries_total')).toBe(3);
    expect(valueOf(samples, 'strongroom_missed_runs_total')).toBe(1);
    expect(valueOf(samples, 'strongroom_looks_failed_total')).toBe(1);
    expect(valueOf(samples, 'strongroom_lock_waits_total')).toBe(2);
    expect(valueOf(samples, 'strongroom_lock_wait_seconds_total', { cluster: 'prod', job: 'backup' })).toBe(2);
    expect(valueOf(samples, 'strongroom_stalled_total', { queue: 'upkeep' })).toBe(1);
    expect(valueOf(samples, 'strongroom_stalled_total', { queue: 'backup' })).toBe(0);
    expect(valueOf(samples, 'strongroom_queue_errors_total')).toBe(1);
  });

  it.each([
    ['refuses', () => Promise.reject(new Error('gone'))],
    ['is silent', () => new Promise<never>(() => undefined)],
  ])('say that the queue is down when Redis %s, and no depth', async (_how, asked) => {
    const samples = await new WorkerMetrics({ ...options, depth: asked, depthMs: 50 }).samples(at(1));
    expect(valueOf(samples, 'strongroom_queue_up')).toBe(0);
    expect(valueOf(samples, 'strongroom_queue_depth')).toBeUndefined();
  });
});

describe('the text', () => {
  it('is what Prometheus reads, and names no metric without a value', async () => {
    const samples = await collectSamples([() => processSamples({ isConfigValid: false })], at(1));
    expect(namesOf(samples)).toEqual(Object.keys(PROCESS_METRICS).sort());
    const { text, contentType } = await renderSamples([
      ...samples,
      { name: 'strongroom_runs_total', labels: { cluster: 'a"b\\c\nd', job: 'backup', outcome: 'done' }, value: 2 },
    ]);
    expect(contentType).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(text).toContain('# TYPE strongroom_runs_total counter');
    expect(text).toContain('strongroom_runs_total{cluster="a\\"b\\\\c\\nd",job="backup",outcome="done"} 2');
    expect(text).toMatch(/^strongroom_config_valid 0$/m);
    expect(text).not.toContain('strongroom_queue_up');
  });

  it.each<[string, Sample]>([
    ['a label that is not in the table', { name: 'strongroom_queue_up', labels: { queue: 'x' }, value: 1 }],
    ['a label that is missing', { name: 'strongroom_whole_known', labels: {}, value: 1 }],
    ['what is no number', { name: 'strongroom_queue_up', labels: {}, value: Number.NaN }],
  ])('refuses %s', async (_what, sample) => {
    await expect(renderSamples([sample])).rejects.toMatchObject({ code: 'E_BUG' });
  });
});

it('every metric has a name, a unit and a meaning as Prometheus wants them, and stands in the docs', () => {
  const page = renderMetrics();
  for (const [name, { type, labels, help }] of Object.entries(METRICS)) {
    expect(name).toMatch(/^strongroom_[a-z]+(?:_[a-z]+)*$/);
    expect(name.endsWith('_total')).toBe(type === 'counter');
    expect(help).not.toContain('\n');
    for (const label of labels) expect(label).toMatch(/^[a-z]+$/);
    expect(page).toContain(`| \`${name}\` | ${type} |`);
  }
});
