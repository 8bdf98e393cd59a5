/**
 * Every metric: name, type, labels and meaning. docs/metrics.md is made from it, and nothing is exported that is not here.
 * A value is there only where a fact is behind it: what is unknown is absent, and never zero.
 */

export type MetricSpec = {
  type: 'gauge' | 'counter';
  labels: readonly string[];
  /** what it says, with its unit; one line */
  help: string;
};

/** From what the destinations hold: exported by `strongroom serve`, and by the worker. Counted at the time of the scrape. */
export const CLUSTER_METRICS = {
  strongroom_recovery_point_age_seconds: {
    type: 'gauge',
    labels: ['cluster'],
    help: 'age of the newest backup of the whole promise: under a good manifest, its objects in every destination; absent = there is none, or nobody knows',
  },
  strongroom_recovery_point_limit_seconds: {
    type: 'gauge',
    labels: ['cluster'],
    help: 'the age that the newest whole backup may have: limits.maxAge, else two periods of schedule.backup; absent = neither is set',
  },
  strongroom_whole_known: {
    type: 'gauge',
    labels: ['cluster'],
    help: '1 = every destination could be asked which backup is whole, when it was last tried; 0 = one could not',
  },
  strongroom_status_age_seconds: {
    type: 'gauge',
    labels: ['cluster'],
    help: 'time since any destination of the cluster was read; since the start of the process when none ever was',
  },
  strongroom_verdict: {
    type: 'gauge',
    labels: ['cluster', 'level'],
    help: '1 for the level that strongroom check would say now, 0 for the others: ok, warning, unknown, critical',
  },
  strongroom_destination_up: {
    type: 'gauge',
    labels: ['cluster', 'destination'],
    help: '1 = the destination answered when it was last asked, 0 = it did not',
  },
  strongroom_destination_problems: {
    type: 'gauge',
    labels: ['cluster', 'destination'],
    help: 'what is wrong with the newest that the destination holds: manifests that are refused, objects that are gone or of another length',
  },
  strongroom_newest_backup_timestamp_seconds: {
    type: 'gauge',
    labels: ['cluster', 'destination'],
    help: 'when the newest good backup began whose manifest this destination itself holds',
  },
  strongroom_newest_backup_bytes: {
    type: 'gauge',
    labels: ['cluster', 'destination'],
    help: 'length of the data that the newest good backup wrote to this destination, encrypted',
  },
  strongroom_copies_missing: {
    type: 'gauge',
    labels: ['cluster', 'destination'],
    help: 'backups since the newest whole one that are not, or not whole, in this destination (20 at most are looked at)',
  },
  strongroom_copies_bad: {
    type: 'gauge',
    labels: ['cluster', 'destination'],
    help: 'copies whose last reading in full showed that they are bad',
  },
  strongroom_last_proof_timestamp_seconds: {
    type: 'gauge',
    labels: ['cluster', 'destination'],
    help: 'when a copy in this destination was last read in full and found good',
  },
  strongroom_proof_age_limit_seconds: {
    type: 'gauge',
    labels: ['cluster'],
    help: 'the age that the last proof in a destination may have: limits.maxProofAge, else two periods of schedule.verify and a week at least; absent = neither is set',
  },
  strongroom_lock_coverage_ratio: {
    type: 'gauge',
    labels: ['cluster', 'destination'],
    help: 'share of the newest copies (10 at most, of the last week) whose object lock outlives now, as the store says it; only where objectLock is set',
  },
  strongroom_snapshot_bytes: {
    type: 'gauge',
    labels: ['cluster'],
    help: 'length of the newest good backup, before encryption',
  },
  strongroom_snapshot_records: {
    type: 'gauge',
    labels: ['cluster'],
    help: 'records in the newest good backup',
  },
  strongroom_backups_from_the_future: {
    type: 'gauge',
    labels: ['cluster'],
    help: 'destinations whose newest backup is dated in the future: a clock is, or was, wrong',
  },
  strongroom_membership_drift: {
    type: 'gauge',
    labels: ['cluster'],
    help: '1 = the raft members of the newest backup are not those of the inventory, or without one: they changed in one of the last backups; and no window declares it. absent = there is nothing to compare with',
  },
  strongroom_last_run_timestamp_seconds: {
    type: 'gauge',
    labels: ['cluster', 'job'],
    help: 'when the last recorded run of the job began, whatever became of it',
  },
  strongroom_last_success_timestamp_seconds: {
    type: 'gauge',
    labels: ['cluster', 'job'],
    help: 'when the last recorded run of the job began that kept every promise',
  },
  strongroom_last_run_failed: {
    type: 'gauge',
    labels: ['cluster', 'job'],
    help: '1 = the last recorded run failed, or did not keep every promise; 0 = it did',
  },
  strongroom_run_failures_since_success: {
    type: 'gauge',
    labels: ['cluster', 'job'],
    help: 'recorded runs since the last one that kept every promise',
  },
  strongroom_stage_duration_seconds: {
    type: 'gauge',
    labels: ['cluster', 'job', 'stage'],
    help: 'how long each stage of the last recorded run took; "total" is all of it',
  },
} as const satisfies Record<string, MetricSpec>;

/** From what a worker does itself; counters begin at zero with the process. */
export const WORKER_METRICS = {
  strongroom_runs_total: {
    type: 'counter',
    labels: ['cluster', 'job', 'outcome'],
    help: 'runs that ended in this worker: done, partly, failed, locked (another run held the cluster), skipped (the work was done already), interrupted',
  },
  strongroom_retries_total: {
    type: 'counter',
    labels: ['cluster', 'job'],
    help: 'failed runs that will be tried again',
  },
  strongroom_missed_runs_total: {
    type: 'counter',
    labels: ['cluster', 'job'],
    help: 'due times that nobody had worked for, found and made up for by this worker',
  },
  strongroom_looks_failed_total: {
    type: 'counter',
    labels: ['cluster', 'job'],
    help: 'looks for missed runs that failed, because no destination answered',
  },
  strongroom_lock_waits_total: {
    type: 'counter',
    labels: ['cluster', 'job'],
    help: "tries to take the cluster's lease, whether they had it in the end or not",
  },
  strongroom_lock_wait_seconds_total: {
    type: 'counter',
    labels: ['cluster', 'job'],
    help: "time that these tries took; by strongroom_lock_waits_total it is the mean wait for the cluster's lease",
  },
  strongroom_stalled_total: {
    type: 'counter',
    labels: ['queue'],
    help: 'jobs whose worker went silent, and that another one took over',
  },
  strongroom_queue_errors_total: {
    type: 'counter',
    labels: [],
    help: 'errors on the connections to Redis',
  },
  strongroom_queue_up: {
    type: 'gauge',
    labels: [],
    help: '1 = Redis answered at this scrape and took a write not long ago, 0 = it did not',
  },
  strongroom_queue_depth: {
    type: 'gauge',
    labels: ['queue', 'state'],
    help: 'jobs in the queue by state, asked at this scrape; absent = Redis did not answer',
  },
  strongroom_schedule_next_timestamp_seconds: {
    type: 'gauge',
    labels: ['cluster', 'job'],
    help: 'when the next run starts by the config, with its jitter',
  },
} as const satisfies Record<string, MetricSpec>;

/** What became of the notifications of a worker; counters begin at zero with the process. */
export const NOTIFY_METRICS = {
  strongroom_notify_up: {
    type: 'gauge',
    labels: ['sink'],
    help: '1 = the sink took what it was sent last, 0 = it did not; absent = nothing was to be sent yet',
  },
  strongroom_notify_delivered_total: {
    type: 'counter',
    labels: ['sink'],
    help: 'notifications and pings that the sink took',
  },
  strongroom_notify_failures_total: {
    type: 'counter',
    labels: ['sink'],
    help: 'messages that the sink refused or did not answer, each try counted',
  },
  strongroom_notify_dropped_total: {
    type: 'counter',
    labels: ['sink', 'why'],
    help: 'notifications that were not told: refused, full (too much waited), stale (a good run too long ago to be pinged), closed (the sinks of the config changed, or the process ended); what is still open is told when the sink takes something again',
  },
  strongroom_notify_waiting: {
    type: 'gauge',
    labels: ['sink'],
    help: 'notifications that the sink has not taken yet',
  },
  strongroom_problems_open: {
    type: 'gauge',
    labels: [],
    help: 'problems that are open as far as this worker knows: those it told of itself, and those its runs found in the records',
  },
} as const satisfies Record<string, MetricSpec>;

/** From the probes that a worker makes: of KMS every `worker.probeEvery`, of the nodes and a configured token every ten minutes. */
export const PROBE_METRICS = {
  strongroom_probe_timestamp_seconds: {
    type: 'gauge',
    labels: ['cluster'],
    help: 'when the last probe of the cluster ended',
  },
  strongroom_kms_up: {
    type: 'gauge',
    labels: ['cluster', 'key', 'region', 'use'],
    help: '1 = the key encrypted when it was last tried; 0 = it did not, or it was not tried for three times worker.probeEvery (2m at least). key = last part of the ARN; use = seal or wrap',
  },
  strongroom_kms_last_success_timestamp_seconds: {
    type: 'gauge',
    labels: ['cluster', 'key', 'region', 'use'],
    help: 'when the key last encrypted for this process; absent = never',
  },
  strongroom_kms_key_state: {
    type: 'gauge',
    labels: ['cluster', 'key', 'region', 'use', 'state'],
    help: 'always 1; the state that KMS tells: Enabled, Disabled, PendingDeletion and so on; absent = it does not, or the login may not call kms:DescribeKey',
  },
  strongroom_kms_key_deletion_seconds: {
    type: 'gauge',
    labels: ['cluster', 'key', 'region', 'use'],
    help: 'time until the key is deleted for good; absent = no deletion is pending, or it is unknown',
  },
  strongroom_certificate_expiry_timestamp_seconds: {
    type: 'gauge',
    labels: ['cluster', 'node'],
    help: 'when the certificate ends that the node showed last; absent = it has no TLS, or was never reached',
  },
  strongroom_client_certificate_expiry_timestamp_seconds: {
    type: 'gauge',
    labels: ['cluster'],
    help: 'when the certificate of tls.cert ends; absent = none is configured',
  },
  strongroom_token_expiry_timestamp_seconds: {
    type: 'gauge',
    labels: ['cluster', 'renewable'],
    help: 'when the configured token ends; absent = each run logs in anew, or the token never ends, or it may not look at itself',
  },
} as const satisfies Record<string, MetricSpec>;

/** Of every process that exports metrics. */
export const PROCESS_METRICS = {
  strongroom_info: {
    type: 'gauge',
    labels: ['version'],
    help: 'always 1; the version of strongroom that is asked',
  },
  strongroom_config_valid: {
    type: 'gauge',
    labels: [],
    help: '1 = the config file is the config in force; 0 = the file was changed into something that is no config, and the one before is in force',
  },
} as const satisfies Record<string, MetricSpec>;

export const METRICS: Readonly<Record<MetricName, MetricSpec>> = {
  ...CLUSTER_METRICS,
  ...WORKER_METRICS,
  ...NOTIFY_METRICS,
  ...PROBE_METRICS,
  ...PROCESS_METRICS,
};

export type MetricName =
  | keyof typeof CLUSTER_METRICS
  | keyof typeof WORKER_METRICS
  | keyof typeof NOTIFY_METRICS
  | keyof typeof PROBE_METRICS
  | keyof typeof PROCESS_METRICS;

/** docs/metrics.md. */
export function renderMetrics(): string {
  const sections = [
    {
      title: 'What the destinations hold',
      text: '`strongroom serve` and the worker export these. They are read from the destinations in the background, and counted at the time of the scrape: an age grows also when nothing can be read any more.',
      metrics: CLUSTER_METRICS,
    },
    {
      title: 'What a worker does',
      text: 'The worker alone exports these. Counters begin at zero with the process; what happened before is in the signed records of the destinations, and above.',
      metrics: WORKER_METRICS,
    },
    {
      title: 'Notifications of a worker',
      text: 'The worker alone exports these. A CronJob that cannot reach a sink says so in its log.',
      metrics: NOTIFY_METRICS,
    },
    {
      title: 'What a worker probes',
      text: 'The worker alone exports these: it asks KMS every `worker.probeEvery`, and the nodes every ten minutes. Ends that were seen stay known when nobody answers any more.',
      metrics: PROBE_METRICS,
    },
    { title: 'The process', text: 'Every process with metrics exports these.', metrics: PROCESS_METRICS },
  ];
  return [
    '# Metrics',
    '',
    'All that `/metrics` can say. A metric is there only where a fact is behind it: what is unknown is absent, and never zero.',
    'The alerts of `monitoring/alerts.yaml` and the dashboard use these names. This page is generated by `npm run docs`.',
    '',
    ...sections.flatMap(({ title, text, metrics }) => [
      `## ${title}`,
      '',
      text,
      '',
      '| metric | type | labels | meaning |',
      '|---|---|---|---|',
      ...Object.entries<MetricSpec>(metrics).map(([name, { type, labels, help }]) => {
        const cells = [`\`${name}\``, type, labels.map((label) => `\`${label}\``).join(', '), help];
        return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
      }),
      '',
    ]),
  ].join('\n');
}
