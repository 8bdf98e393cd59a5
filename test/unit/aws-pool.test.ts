import { describe, expect, it } from 'vitest';
import { AwsPool } from '../../src/aws-pool.ts';
import { parseConfig } from '../../src/config/load.ts';
import type { DestinationConfig } from '../../src/config/schema.ts';
import { SAMPLE } from './config/sample.ts';

const never = new AbortController().signal;

type S3Config = Extract<DestinationConfig, { type: 's3' }>;

/** The S3 destination of the sample config, with the credentials that `env` holds at the time of asking. */
function destination(env: Record<string, string>): S3Config {
  const found = parseConfig(SAMPLE, '/etc/sr/strongroom.yaml', { env }).destinations['primary'];
  if (found?.type !== 's3') throw new Error('no S3 destination');
  return found;
}

/** Tells from now on whether the client was destroyed. */
function watch(client: { destroy(): void }): { isDestroyed: boolean } {
  const seen = { isDestroyed: false };
  const destroy = client.destroy.bind(client);
  client.destroy = () => {
    seen.isDestroyed = true;
    destroy();
  };
  return seen;
}

describe('clients that runs share', () => {
  it('are one for the same destination, and stay when everybody gave theirs back', async () => {
    using pool = new AwsPool();
    const options = destination({ HOME: '/home/sr', AK: 'a', SK: 'b' });
    const [one, two] = await Promise.all([pool.s3(options, never), pool.s3(options, never)]);
    expect(one.client).toBe(two.client);
    const seen = watch(one.client);
    one[Symbol.dispose]();
    one[Symbol.dispose]();
    two[Symbol.dispose]();
    using three = await pool.s3(options, never);
    expect(three.client).toBe(one.client);
    expect(seen.isDestroyed).toBe(false);
  });

  it('are others when the secrets are others; the old one ends with its last user, not before', async () => {
    using pool = new AwsPool();
    const env = { HOME: '/home/sr', AK: 'a', SK: 'b' };
    const options = destination(env);
    const old = await pool.s3(options, never);
    const seen = watch(old.client);
    env.SK = 'c';
    using fresh = await pool.s3(options, never);
    expect(fresh.client).not.toBe(old.client);
    expect(await fresh.client.config.credentials()).toMatchObject({ secretAccessKey: 'c' });
    expect(seen.isDestroyed).toBe(false);
    old[Symbol.dispose]();
    await Promise.resolve();
    expect(seen.isDestroyed).toBe(true);
  });

  it('end when the config is another one, and with the pool', async () => {
    const pool = new AwsPool();
    const options = destination({ HOME: '/home/sr', AK: 'a', SK: 'b' });
    const idle = await pool.s3(options, never);
    idle[Symbol.dispose]();
    const seen = watch(idle.client);
    pool.retire();
    await Promise.resolve();
    expect(seen.isDestroyed).toBe(true);
    const next = await pool.s3(options, never);
    expect(next.client).not.toBe(idle.client);
    const atEnd = watch(next.client);
    pool[Symbol.dispose]();
    await Promise.resolve();
    expect(atEnd.isDestroyed).toBe(true);
  });

  it('that cannot be opened are asked for again: a secret may come later', async () => {
    using pool = new AwsPool();
    const env: Record<string, string> = { HOME: '/home/sr', AK: 'a' };
    const options = destination(env);
    await expect(pool.s3(options, never)).rejects.toMatchObject({ code: 'E_CONFIG_INVALID' });
    env['SK'] = 'b';
    using later = await pool.s3(options, never);
    expect(later.client).toBeDefined();
  });
});
