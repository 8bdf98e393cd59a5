/** The route map, and the one way into it. */
import {
  type Application,
  ArgumentScannerError,
  buildApplication,
  buildRouteMap,
  formatMessageForArgumentScannerError,
  run as runApplication,
  text_en,
} from '@stricli/core';
import { StrongroomError } from '../core/errors.ts';
import { TOOL_VERSION } from '../version.ts';
import { type Context, createContext } from './context.ts';
import { command } from './define.ts';
import { backup } from './definitions/backup.ts';
import { check } from './definitions/check.ts';
import { configCheck, configSchema } from './definitions/config.ts';
import { doctor } from './definitions/doctor.ts';
import { inspect } from './definitions/inspect.ts';
import { jobRun } from './definitions/job.ts';
import { keysGenerate } from './definitions/keys.ts';
import { notifyTest } from './definitions/notify.ts';
import { policyIam, policyKms, policyLifecycle, policyS3, policyVault } from './definitions/policy.ts';
import { prune } from './definitions/prune.ts';
import { restore } from './definitions/restore.ts';
import { serve } from './definitions/serve.ts';
import {
  snapshotsAudit,
  snapshotsExport,
  snapshotsHold,
  snapshotsList,
  snapshotsRelease,
  snapshotsRewrap,
  snapshotsShow,
  snapshotsVerify,
} from './definitions/snapshots.ts';
import { version } from './definitions/version.ts';
import { worker } from './definitions/worker.ts';
import type { Host, Mode } from './host.ts';

const routes = buildRouteMap({
  routes: {
    backup: command(backup, () => import('./commands/backup.ts')),
    restore: command(restore, () => import('./commands/restore.ts')),
    check: command(check, () => import('./commands/check.ts')),
    doctor: command(doctor, () => import('./commands/doctor.ts')),
    serve: command(serve, () => import('./commands/serve.ts')),
    prune: command(prune, () => import('./commands/prune.ts')),
    inspect: command(inspect, () => import('./commands/inspect.ts')),
    snapshots: buildRouteMap({
      routes: {
        list: command(snapshotsList, () => import('./commands/snapshots-list.ts')),
        show: command(snapshotsShow, () => import('./commands/snapshots-show.ts')),
        verify: command(snapshotsVerify, () => import('./commands/snapshots-verify.ts')),
        export: command(snapshotsExport, () => import('./commands/snapshots-export.ts')),
        audit: command(snapshotsAudit, () => import('./commands/snapshots-audit.ts')),
        hold: command(snapshotsHold, () => import('./commands/snapshots-hold.ts')),
        release: command(snapshotsRelease, () => import('./commands/snapshots-release.ts')),
        rewrap: command(snapshotsRewrap, () => import('./commands/snapshots-rewrap.ts')),
      },
      docs: { brief: 'Stored snapshots' },
    }),
    job: buildRouteMap({
      routes: { run: command(jobRun, () => import('./commands/job-run.ts')) },
      docs: { brief: 'Jobs, as a CronJob runs them' },
    }),
    keys: buildRouteMap({
      routes: { generate: command(keysGenerate, () => import('./commands/keys-generate.ts')) },
      docs: { brief: 'Break-glass and signing keys' },
    }),
    policy: buildRouteMap({
      routes: {
        vault: command(policyVault, () => import('./commands/policy-vault.ts')),
        iam: command(policyIam, () => import('./commands/policy-iam.ts')),
        s3: command(policyS3, () => import('./commands/policy-s3.ts')),
        kms: command(policyKms, () => import('./commands/policy-kms.ts')),
        's3-lifecycle': command(policyLifecycle, () => import('./commands/policy-lifecycle.ts')),
      },
      docs: { brief: 'Least-privilege documents for what the config says' },
    }),
    notify: buildRouteMap({
      routes: { test: command(notifyTest, () => import('./commands/notify-test.ts')) },
      docs: { brief: 'Who is told when something is wrong' },
    }),
    config: buildRouteMap({
      routes: {
        check: command(configCheck, () => import('./commands/config-check.ts')),
        schema: command(configSchema, () => import('./commands/config-schema.ts')),
      },
      docs: { brief: 'The config file' },
    }),
    worker: command(worker, () => import('./commands/worker.ts')),
    version: command(version, () => import('./commands/version.ts')),
  },
  docs: {
    brief: 'Backup, proof and restore for Vault and OpenBao clusters on integrated storage',
    fullDescription:
      'strongroom takes raft snapshots of HashiCorp Vault and OpenBao clusters, verifies and encrypts them while they ' +
      'stream, stores them in several places, and brings them back with a proof.\nHelp on one command: strongroom <command> --help',
  },
});

/**
 * Runs the command that `argv` (without the program) names. Resolves when it is done; rejects with its failure, or with
 * E_USAGE for a command line that makes no sense. Writes to the streams of `host`, and leaves them open.
 */
export async function runCli(argv: readonly string[], host: Host, mode: Mode): Promise<void> {
  const failures: unknown[] = [];
  const context = createContext(host, mode);
  await runApplication(buildCli(failures), argv, {
    ...context,
    // Failures come back by `failures`; what the library would write about them is dropped.
    process: { stdout: host.stdout, stderr: { write: () => undefined }, env: host.env },
  });
  const usage = failures.filter((failure) => failure instanceof UsageFailure);
  if (usage.length > 0) throw usageError(usage);
  if (failures.length > 0) throw failures[0];
}

class UsageFailure {
  readonly message: string;
  readonly hint: string;

  constructor(message: string, hint: string) {
    this.message = message;
    this.hint = hint;
  }
}

function usageError(failures: readonly UsageFailure[]): StrongroomError {
  const hints = new Set(failures.map(({ hint }) => hint));
  return new StrongroomError('E_USAGE', failures.map(({ message }) => message).join('; '), {
    hint: [...hints].join('; '),
  });
}

function explain(e: ArgumentScannerError): string {
  const message = formatMessageForArgumentScannerError(e, {});
  return `${message.charAt(0).toLowerCase()}${message.slice(1)}`;
}

/** The application; everything that fails in it is put into `failures` instead of being written. */
function buildCli(failures: unknown[]): Application<Context> {
  const keep = (failure: unknown): string => {
    failures.push(failure);
    return '';
  };
  return buildApplication(routes, {
    name: 'strongroom',
    versionInfo: { currentVersion: TOOL_VERSION },
    scanner: { caseStyle: 'allow-kebab-for-camel', allowArgumentEscapeSequence: true },
    localization: {
      text: {
        ...text_en,
        noCommandRegisteredForInput: ({ input, corrections }) =>
          keep(
            new UsageFailure(
              `no command "${input}"`,
              corrections.length > 0 ? `did you mean ${corrections.join(' or ')}?` : 'strongroom --help',
            ),
          ),
        exceptionWhileParsingArguments: (e) =>
          keep(e instanceof ArgumentScannerError ? new UsageFailure(explain(e), 'add --help for what there is') : e),
        exceptionWhileLoadingCommandFunction: keep,
        exceptionWhileLoadingCommandContext: keep,
        exceptionWhileRunningCommand: keep,
        commandErrorResult: keep,
        exceptionWhileRunningIntegrationHook: ({ exception }) => keep(exception),
        exceptionWhileRunningIntegrationFlag: ({ exception }) => keep(exception),
      },
    },
  });
}
