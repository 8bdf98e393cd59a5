import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { CODES, exitCodeOf, isError, StrongroomError } from '../../../src/core/errors.ts';
import { newSnapshotId, parseClusterName, parseSnapshotId, snapshotTime } from '../../../src/core/ids.ts';
import { retry } from '../../../src/core/retry.ts';
import { Secret } from '../../../src/core/secret.ts';
import { formatBytes, formatDuration, parseDuration, parseSize } from '../../../src/core/units.ts';
import { objectKey, parseObjectKey } from '../../../src/store/layout.ts';

describe('errors', () => {
  it('carry code, exit code, hint and the messages of their causes, and no stack', () => {
    const e = new StrongroomError('E_STORE_DENIED', 'no', { hint: 'ask', cause: new Error('below') });
    expect(e.toJSON()).toEqual({
      code: 'E_STORE_DENIED',
      message: 'no',
      hint: 'ask',
      retryable: false,
      causes: ['below'],
    });
    expect(exitCodeOf(e)).toBe(CODES.E_STORE_DENIED.exit);
    expect(exitCodeOf(new Error('x'))).toBe(1);
    expect(isError(e, 'E_BUG')).toBe(false);
  });
});

describe('ids', () => {
  it('put the time into the key, and read only their own keys back', () => {
    const at = new Date('2026-11-22T01:30:00.123Z');
    const id = newSnapshotId(at);
    const cluster = parseClusterName('prod-eu-1');
    expect(snapshotTime(id)).toEqual(at);
    const key = objectKey(cluster, 'manifests', id);
    expect(key).toBe(`v1/prod-eu-1/manifests/2026/11/22/20261122T013000Z-${id}.json`);
    expect(parseObjectKey(cluster, 'manifests', key)).toBe(id);
    expect(parseObjectKey(cluster, 'manifests', key.replace('/22/', '/23/'))).toBeNull();
    expect(parseObjectKey(cluster, 'data', key)).toBeNull();
    expect(parseSnapshotId(id.toLowerCase())).toBe(id);
    expect(parseSnapshotId('../../etc/passwd')).toBeNull();
  });

  it('refuse cluster names that are no folder', () => {
    for (const name of ['', 'A', 'a/b', '..', '-a', 'a-', 'a'.repeat(64)]) {
      expect(() => parseClusterName(name)).toThrow(expect.objectContaining({ code: 'E_CONFIG_INVALID' }));
    }
  });

  it('grow within a millisecond and over a small step back, and follow a clock that is set right', () => {
    const now = Date.UTC(2027, 4, 1);
    const [first, second, third] = [now, now, now - 500].map((ms) => newSnapshotId(new Date(ms)));
    expect([first, second, third]).toEqual([first, second, third].toSorted((a, b) => (String(a) < String(b) ? -1 : 1)));
    newSnapshotId(new Date(now + 86_400_000));
    expect(snapshotTime(newSnapshotId(new Date(now)))).toEqual(new Date(now));
  });
});

describe('units', () => {
  it('read and write what people write and read', () => {
    expect([parseDuration('90s'), parseDuration('1.5h'), parseSize('64MiB'), parseSize('2GB')]).toEqual([
      90_000, 5_400_000, 67_108_864, 2e9,
    ]);
    expect([formatBytes(1536), formatBytes(5), formatDuration(93_000), formatDuration(250)]).toEqual([
      '1.50 KiB',
      '5 B',
      '1m 33s',
      '250ms',
    ]);
    expect(() => parseSize('64')).toThrow(expect.objectContaining({ code: 'E_CONFIG_INVALID' }));
    expect(() => parseDuration('6 hours')).toThrow();
  });
});

describe('retry', () => {
  const policy = { attempts: 3, baseMs: 1, maxMs: 2 };
  const never = new AbortController().signal;
  it('tries again only where the error says that it may help', async () => {
    let tries = 0;
    const flaky = async (): Promise<number> => {
      tries += 1;
      if (tries < 3) throw new StrongroomError('E_STORE_THROTTLED', 'slow');
      return await Promise.resolve(tries);
    };
    expect(await retry(policy, flaky, never)).toBe(3);
    tries = 0;
    const denied = (): Promise<never> => {
      tries += 1;
      return Promise.reject(new StrongroomError('E_STORE_DENIED', 'no'));
    };
    await expect(retry(policy, denied, never)).rejects.toMatchObject({ code: 'E_STORE_DENIED' });
    expect(tries).toBe(1);
  });

  it('stops at the last attempt and when aborted', async () => {
    const slow = (): Promise<never> => Promise.reject(new StrongroomError('E_STORE_THROTTLED', 'slow'));
    await expect(retry(policy, slow, never)).rejects.toMatchObject({ code: 'E_STORE_THROTTLED' });
    const abort = new AbortController();
    const reason = new Error('stop');
    const waiting = retry({ attempts: 9, baseMs: 60_000, maxMs: 60_000 }, slow, abort.signal, {
      onRetry: () => setImmediate(() => abort.abort(reason)),
    });
    await expect(waiting).rejects.toBe(reason);
  });
});

describe('secrets', () => {
  it('print as *** everywhere, and only reveal() gives them away', () => {
    const secret = new Secret('hvs.planted');
    const shown = [
      String(secret),
      `${String(secret)}`,
      JSON.stringify({ secret }),
      inspect({ deep: { secret } }),
      inspect(secret),
    ];
    expect(shown.join()).not.toContain('planted');
    expect(secret.reveal()).toBe('hvs.planted');
  });
});
