/** Probes of keys, on a real KMS interface that fails in every way. */
import { readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { loadConfig } from '../../src/config/load.ts';
import { createLog } from '../../src/core/log.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { type KmsEmulator, startKms } from '../support/kms-emulator.ts';
import { PROBE_ENV, probing, type Said, saidBy } from '../support/probing.ts';
import { until } from '../support/until.ts';
import { World } from '../support/world.ts';

const DAY = 86_400;
const REGION = 'eu-central-1';

describe('keys', () => {
  let kms: KmsEmulator;
  let proxy: FaultProxy;
  let world: World;
  let seal: string;
  let wrap: string;
  let file: string;
  const idOf = (arn: string): string => arn.split('/')[1] ?? '';

  beforeAll(async () => {
    kms = await startKms();
    proxy = await startFaultProxy(kms.url);
  });
  afterEach(async () => {
    kms.heal();
    kms.revoke('writer');
    await proxy.set({ kind: 'pass' });
    await world[Symbol.asyncDispose]();
  });
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await kms[Symbol.asyncDispose]();
  });

  /** Two new keys, the seal's behind the proxy, of a cluster that nobody answers for. */
  async function open(node = 'http://127.0.0.1:1'): Promise<void> {
    seal = kms.createKey({ region: REGION });
    wrap = kms.createKey({ region: REGION });
    world = await World.create({
      destinations: { a: { type: 'directory', path: 'a' } },
      kms: [{ keyArn: wrap, endpoint: kms.url }],
      sealKms: { keyArn: seal, endpoint: proxy.url },
    });
    await world.write('role-id', 'r');
    await world.write('secret-id', 's');
    const text = await world.config([node]);
    file = await world.write('probed.yaml', `${await readFile(text, 'utf8')}worker: { probeEvery: 1s }\n`);
  }
  /** The same cluster so many times; their names. */
  async function many(count: number): Promise<string[]> {
    const document = parse(await readFile(file, 'utf8')) as { clusters: Record<string, unknown> };
    const names = Array.from({ length: count }, (_, i) => `c${i}`);
    document.clusters = Object.fromEntries(names.map((name) => [name, document.clusters['prod']]));
    file = await world.write('many.yaml', stringify(document));
    return names;
  }
  const bothUp = (said: Said): boolean =>
    said('kms_up', { use: 'seal' }) === 1 && said('kms_up', { use: 'wrap' }) === 1;

  it('are encrypted with as the policy allows, and nothing else is done with them', async () => {
    await open();
    kms.clearCalls();
    await probing(file, async (when) => {
      const said = await when(
        'both keys are up and known',
        (s) => bothUp(s) && s('kms_key_state', { use: 'wrap' }) === 1 && s('kms_key_state', { use: 'seal' }) === 1,
      );
      expect(said('kms_up', { cluster: 'prod', key: idOf(seal), region: REGION, use: 'seal' })).toBe(1);
      expect(said('kms_key_state', { use: 'seal', state: 'Enabled' })).toBe(1);
      expect(said('kms_key_deletion_seconds')).toBeUndefined();
      const age = Date.now() / 1000 - (said('kms_last_success_timestamp_seconds', { use: 'seal' }) ?? 0);
      expect(age).toBeLessThan(30);
      await until('each was tried three times', async () =>
        kms.calls.filter(({ operation, keyArn }) => operation === 'Encrypt' && keyArn === seal).length >= 3
          ? true
          : undefined,
      );
    });
    expect(new Set(kms.calls.map(({ operation }) => operation))).toEqual(new Set(['Encrypt', 'DescribeKey']));
    const contexts = (arn: string) =>
      kms.calls.find((call) => call.keyArn === arn && call.operation === 'Encrypt')?.context;
    expect(contexts(seal)).toEqual({ cluster: 'prod', snapshot: 'seal-probe' });
    expect(contexts(wrap)).toEqual({ cluster: 'prod', snapshot: 'key-probe' });
    // A healthy key is asked for its state once in a while, not each time.
    expect(kms.calls.filter(({ operation, keyArn }) => operation === 'DescribeKey' && keyArn === seal)).toHaveLength(1);
  });

  it('are dead one by one when disabled, and alive again when enabled; the last success stays where it was', async () => {
    await open();
    await probing(file, async (when) => {
      const good = await when('both are up', bothUp);
      kms.disableKey(seal);
      const dead = await when('the seal key is dead', (s) => s('kms_up', { use: 'seal' }) === 0);
      await when('its state is told', (s) => s('kms_key_state', { use: 'seal', state: 'Disabled' }) === 1);
      expect(dead('kms_up', { use: 'wrap' })).toBe(1);
      const success = dead('kms_last_success_timestamp_seconds', { use: 'seal' }) ?? 0;
      expect(success).toBeGreaterThanOrEqual(good('kms_last_success_timestamp_seconds', { use: 'seal' }) ?? 0);
      const later = await when(
        'the other key is tried on',
        (s) => (s('kms_last_success_timestamp_seconds', { use: 'wrap' }) ?? 0) > success + 2,
      );
      expect(later('kms_last_success_timestamp_seconds', { use: 'seal' })).toBe(success);
      kms.enableKey(seal);
      const back = await when(
        'both are up again',
        (s) => bothUp(s) && s('kms_key_state', { use: 'seal', state: 'Enabled' }) === 1,
      );
      expect(back('kms_key_state', { use: 'seal', state: 'Disabled' })).toBeUndefined();
    });
  });

  it('that wait for their deletion are dead, with the time that is left; and it is over when it is cancelled', async () => {
    await open();
    await probing(file, async (when) => {
      await when('both are up', bothUp);
      kms.scheduleKeyDeletion(wrap, 7);
      const pending = { use: 'wrap', state: 'PendingDeletion' };
      const said = await when('the deletion is told', (s) => s('kms_key_state', pending) === 1);
      expect(said('kms_up', { use: 'wrap' })).toBe(0);
      const left = said('kms_key_deletion_seconds', { use: 'wrap' }) ?? 0;
      expect(left).toBeGreaterThan(7 * DAY - 60);
      expect(left).toBeLessThanOrEqual(7 * DAY);
      kms.cancelKeyDeletion(wrap);
      kms.enableKey(wrap);
      const back = await when('it is up again', (s) => bothUp(s) && s('kms_key_state', pending) === undefined);
      expect(back('kms_key_deletion_seconds')).toBeUndefined();
    });
  });

  it('have no state where the login may not ask, and are alive all the same', async () => {
    await open();
    kms.grant('writer', ['Encrypt'], seal);
    kms.grant('writer', ['Encrypt'], wrap);
    await probing(file, async (when) => {
      const said = await when('both are up', bothUp);
      expect(said('kms_key_state')).toBeUndefined();
      kms.revoke('writer');
      kms.grant('writer', ['DescribeKey'], seal);
      await when('who may only look is told as dead', (s) => s('kms_up', { use: 'seal' }) === 0);
      await when('and what it looks like', (s) => s('kms_key_state', { use: 'seal', state: 'Enabled' }) === 1);
    });
  });

  it.each([
    ['is cut off', { kind: 'refuse' }],
    ['says nothing', { kind: 'hang' }],
  ] as const)(
    'are dead when KMS %s, without holding up the others, and come back by themselves',
    async (_how, fault) => {
      await open();
      await probing(
        file,
        async (when) => {
          const good = await when('both are up', bothUp);
          await proxy.set(fault);
          proxy.resetConnections();
          const before = good('kms_last_success_timestamp_seconds', { use: 'wrap' }) ?? 0;
          const dead = await when('the seal key is dead', (s) => s('kms_up', { use: 'seal' }) === 0);
          expect(dead('kms_up', { use: 'wrap' })).toBe(1);
          const at = dead('probe_timestamp_seconds') ?? 0;
          await when('probes go on', (s) => (s('probe_timestamp_seconds') ?? 0) > at);
          await when(
            'the other is tried on',
            (s) => (s('kms_last_success_timestamp_seconds', { use: 'wrap' }) ?? 0) > before,
          );
          await proxy.set({ kind: 'pass' });
          proxy.resetConnections();
          await when('both are up again', bothUp);
        },
        { limitMs: 3_000 },
      );
    },
  );

  it('survive a single lost request: it is tried again before it is believed', async () => {
    await open();
    await probing(file, async (when, prober) => {
      await when('both are up', bothUp);
      // The SDK itself tries three times.
      const fault = kms.fail({ operation: 'Encrypt', keyId: seal, with: 500, times: 3 });
      const seen = new Set<number | undefined>();
      await until(
        'the requests were lost, and it was tried again',
        async () => {
          seen.add(saidBy(prober.samples(new Date()))('kms_up', { use: 'seal' }));
          const last = kms.calls.findLast(({ operation, keyArn }) => operation === 'Encrypt' && keyArn === seal);
          return fault.hits === 3 && last?.outcome === 'ok' ? true : undefined;
        },
        { everyMs: 5 },
      );
      expect(seen).toEqual(new Set([1]));
    });
  });

  it('of many clusters are tried a few at a time, and each has its turn though KMS hangs', async () => {
    await open();
    const names = await many(20);
    await proxy.set({ kind: 'hang' });
    const limitMs = 2_000;
    const said: string[] = [];
    const log = createLog('warn', { write: (line) => void said.push(line) });
    const begun = performance.now();
    await probing(
      file,
      async (_when, prober) => {
        await until(
          'every cluster was probed',
          async () => {
            const said = saidBy(prober.samples(new Date()));
            const isDead = (name: string): boolean => said('kms_up', { cluster: name, use: 'seal' }) === 0;
            const isAlive = (name: string): boolean => said('kms_up', { cluster: name, use: 'wrap' }) === 1;
            return names.every((name) => isDead(name) && isAlive(name)) ? true : undefined;
          },
          { everyMs: 10 },
        );
      },
      { limitMs, keysAtOnce: 8, log },
    );
    expect(said.filter((line) => line.includes('keys are not tried every worker.probeEvery'))).toHaveLength(1);
    // Each holds its place until the limit: 20 of them take three turns, and one after the other would take twenty.
    const turns = (performance.now() - begun) / limitMs;
    expect(turns).toBeGreaterThanOrEqual(2.9);
    expect(turns).toBeLessThan(15);
  });

  it('of many clusters are tried in time though every node of theirs hangs', async () => {
    await using node = await startFaultProxy(kms.url);
    await node.set({ kind: 'hang' });
    await open(node.url.replace('http:', 'https:'));
    const names = await many(120);
    await probing(file, async (when) => {
      const timesOf = (s: Said): (number | undefined)[] =>
        names.map((cluster) => s('kms_last_success_timestamp_seconds', { cluster, use: 'seal' }));
      let before: (number | undefined)[] = [];
      for (const round of ['first', 'second', 'third']) {
        const last = before;
        const found = await when(`${round} round`, (s) => timesOf(s).every((at, i) => (at ?? 0) > (last[i] ?? 0)));
        before = timesOf(found);
      }
    });
  });

  it('that another config names are known from the next probe on, and what is known of the others stays', async () => {
    await open();
    await probing(file, async (when, prober) => {
      await when('both are up', bothUp);
      const third = kms.createKey({ region: REGION });
      const next = await world.write('next.yaml', (await readFile(file, 'utf8')).replaceAll(wrap, third));
      prober.reconfigure(await loadConfig(next, { env: PROBE_ENV }));
      const said = saidBy(prober.samples(new Date()));
      expect(said('kms_up', { use: 'seal' })).toBe(1);
      expect(said('kms_up', { use: 'wrap' })).toBeUndefined();
      const found = await when('the new key is up', (s) => s('kms_up', { key: idOf(third) }) === 1);
      expect(found('kms_up', { key: idOf(wrap) })).toBeUndefined();
    });
  });
});
