import { expect, it } from 'vitest';
import { queueOptions } from '../../src/queue-options.ts';
import { parse, SAMPLE } from './config/sample.ts';

const never = new AbortController().signal;
const PEM = '-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----';
const of = (block: string, env: Record<string, string> = {}) =>
  queueOptions(parse(`${SAMPLE}queue: ${block}\n`, env), never);

it('one Redis, its secrets read', async () => {
  const options = await of('{ url: "redis://r", username: w, password: env:PW, db: 2 }', { PW: 'hunter2' });
  expect(options).toMatchObject({
    at: { type: 'single', address: 'r:6379' },
    username: 'w',
    prefix: 'strongroom',
    db: 2,
  });
  expect(options).not.toHaveProperty('tls');
  expect(options.password?.reveal()).toBe('hunter2');
  expect(JSON.stringify(options)).not.toContain('hunter2');
});

it('TLS by the scheme, or by the block', async () => {
  expect((await of('{ url: "rediss://r:1" }')).tls).toEqual({});
  expect((await of('{ cluster: ["a:1"] }')).tls).toBeUndefined();
  expect((await of('{ cluster: ["a:1"], tls: {} }')).tls).toEqual({});
  const { tls } = await of('{ url: "rediss://r:1", tls: { ca: env:CA, cert: env:CA, key: env:K, serverName: n } }', {
    CA: PEM,
    K: 'hunter2',
  });
  expect(tls).toMatchObject({ ca: PEM, cert: PEM, serverName: 'n' });
  expect(tls?.key?.reveal()).toBe('hunter2');
});

it('sentinels with a password of their own, and a cluster', async () => {
  const { at } = await of('{ sentinels: ["a:1", "b:2"], name: main, sentinelPassword: env:S }', { S: 'watch' });
  expect(at).toMatchObject({ type: 'sentinel', sentinels: ['a:1', 'b:2'], name: 'main' });
  expect(at.type === 'sentinel' ? at.password?.reveal() : '').toBe('watch');
  expect((await of('{ cluster: ["a:1"] }')).at).toEqual({ type: 'cluster', nodes: ['a:1'] });
});

it('no queue, or a secret that is not there, is a mistake of the config', async () => {
  await expect(queueOptions(parse(SAMPLE), never)).rejects.toMatchObject({ code: 'E_CONFIG_INVALID' });
  await expect(of('{ url: "redis://r", password: env:PW }')).rejects.toMatchObject({
    code: 'E_CONFIG_INVALID',
    message: expect.stringContaining('queue.password: environment variable PW is not set') as string,
  });
});
