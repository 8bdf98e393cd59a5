/** Real S3 servers on free ports of 127.0.0.1, each with its data in a directory that goes with it. */

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureTool } from '../../scripts/tools.ts';
import { freePort, type RunningProcess, startProcess } from './process.ts';
import { type S3Server, s3Server } from './s3-connection.ts';

/** Whoever started it disposes of it: the process group ends and the data is removed. */
export type RunningS3 = S3Server & AsyncDisposable & { process: RunningProcess };

/**
 * VersityGW: checks signatures and checksums strictly, survives SIGKILL. No SSE-KMS, no bucket default retention.
 *
 * `objects` is the folder of its buckets: what is written there as a file is an object, without an ETag. `users` may do what
 * the policy of a bucket says, and nothing else; their secret is {@link secretOf} them.
 *
 * @throws Error with the end of its log when it does not start within 30 s
 */
export async function startVersityGw(
  signal?: AbortSignal,
  { users = [] }: { users?: readonly string[] } = {},
): Promise<RunningS3 & { objects: string }> {
  const command = await ensureTool('versitygw', signal);
  return withDataDirectory('versitygw', async (data) => {
    const [objects, versions, sidecar] = [join(data, 'objects'), join(data, 'versions'), join(data, 'sidecar')];
    for (const directory of [objects, versions, sidecar]) await mkdir(directory);
    const iam = join(data, 'iam');
    if (users.length > 0) await writeUsers(iam, users);
    const port = await freePort();
    const [endpoint, region] = [`http://127.0.0.1:${port}`, 'eu-west-1'];
    const [accessKeyId, secretAccessKey] = ['testkey1', 'testsecret1'];
    const start = (...meta: string[]): Promise<RunningProcess> =>
      startProcess({
        name: 'versitygw',
        command,
        args: `--port 127.0.0.1:${port} --access ${accessKeyId} --secret ${secretAccessKey} --region ${region} --quiet`
          .split(' ')
          .concat(users.length === 0 ? [] : ['--iam-dir', iam])
          .concat('--health', '/health', 'posix', '--versioning-dir', versions, ...meta, objects),
        ready: answers(`${endpoint}/health`),
        timeoutMs: 120_000,
        ...(signal ? { signal } : {}),
      });
    // The policy of a bucket with several users is longer than an extended attribute of ext4.
    const withUsers = users.length === 0 ? [] : ['--sidecar', sidecar];
    const process = await start(...withUsers).catch((error: unknown) => {
      // The gateway itself tests whether the file system keeps extended attributes; only its own word is believed.
      if (error instanceof Error && error.message.includes('xattr')) return start('--sidecar', sidecar);
      throw error;
    });
    return { process, endpoint, region, accessKeyId, secretAccessKey, objects };
  });
}

/** The secret access key of one of the users that {@link startVersityGw} is given. */
export function secretOf(user: string): string {
  return `${user}-secret-key`;
}

/** As the gateway itself keeps them: it reads this when it starts. */
async function writeUsers(directory: string, users: readonly string[]): Promise<void> {
  await mkdir(directory);
  const accessAccounts = Object.fromEntries(
    users.map((access) => [
      access,
      { access, secret: secretOf(access), role: 'user', userID: 0, groupID: 0, projectID: 0 },
    ]),
  );
  await writeFile(join(directory, 'users.json'), JSON.stringify({ accessAccounts }), { mode: 0o600 });
}

/**
 * LocalStack with S3 and KMS: Object Lock, SSE-KMS, lifecycle. Does not check signatures; forgets all on restart.
 *
 * @throws ToolError where no Python >= 3.12 is; Error with the end of its log when it does not start within 90 s
 */
export async function startLocalStack(signal?: AbortSignal): Promise<RunningS3> {
  const command = await ensureTool('localstack', signal);
  return withDataDirectory('localstack', async (data) => {
    const port = await freePort();
    const endpoint = `http://127.0.0.1:${port}`;
    const process = await startProcess({
      name: 'localstack',
      command,
      args: [],
      cwd: data,
      env: {
        GATEWAY_LISTEN: `127.0.0.1:${port}`,
        GATEWAY_SERVER: 'hypercorn', // the default server listens on all interfaces, whatever GATEWAY_LISTEN says
        SERVICES: 's3,kms',
        EAGER_SERVICE_LOADING: '1',
        DNS_ADDRESS: '0',
        DISABLE_EVENTS: '1',
        SKIP_SSL_CERT_DOWNLOAD: '1',
        FILESYSTEM_ROOT: data,
        HOME: data,
        PYTHONUNBUFFERED: '1',
      },
      ready: answers(`${endpoint}/_localstack/health`),
      timeoutMs: 240_000,
      ...(signal ? { signal } : {}),
    });
    return { process, endpoint, region: 'eu-west-1', accessKeyId: 'test', secretAccessKey: 'test' };
  });
}

/**
 * moto: the quickest to misbehave (accepts a wrong SHA-256, ignores locks on multipart uploads); for comparisons.
 *
 * @throws Error with the end of its log when it does not start within 60 s
 */
export async function startMoto(signal?: AbortSignal): Promise<RunningS3> {
  const command = await ensureTool('moto', signal);
  return withDataDirectory('moto', async (data) => {
    const port = await freePort();
    const endpoint = `http://127.0.0.1:${port}`;
    const process = await startProcess({
      name: 'moto',
      command,
      args: ['-H', '127.0.0.1', '-p', String(port)],
      cwd: data,
      ready: answers(`${endpoint}/moto-api/`),
      timeoutMs: 120_000,
      ...(signal ? { signal } : {}),
    });
    return { process, endpoint, region: 'eu-west-1', accessKeyId: 'test', secretAccessKey: 'test' };
  });
}

type Started = {
  process: RunningProcess;
  endpoint: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
};

async function withDataDirectory<T extends Started>(
  name: string,
  start: (data: string) => Promise<T>,
): Promise<RunningS3 & T> {
  const data = await mkdtemp(join(tmpdir(), `strongroom-${name}-`));
  const remove = (): Promise<void> => rm(data, { recursive: true, force: true, maxRetries: 3 });
  try {
    const started = await start(data);
    return {
      ...started,
      ...s3Server({ ...started, pid: started.process.pid }),
      process: started.process,
      [Symbol.asyncDispose]: async () => {
        await started.process.stop();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

function answers(url: string): (signal: AbortSignal) => Promise<boolean> {
  return async (signal) => {
    const response = await fetch(url, { signal });
    await response.body?.cancel();
    return response.ok;
  };
}
