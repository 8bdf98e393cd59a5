import { afterEach, describe, expect, it, vi } from 'vitest';
import { FileStore } from '../../../src/store/file.ts';
import { askAll, askBriefly } from '../../../src/store/patience.ts';

const never = new AbortController().signal;
const [quick, dead] = ['quick', 'dead'].map((name) => new FileStore({ name, directory: `/srv/${name}` }));
if (quick === undefined || dead === undefined) throw new Error('two stores');

/** What a store that does not answer does: nothing, until it is given up. */
const silence = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });

afterEach(() => vi.useRealTimers());

describe('asking all destinations', () => {
  it('gives up the one that is silent, some time after another has answered', async () => {
    const results = await askAll(
      [dead, quick],
      async (store, signal) => {
        if (store === dead) await silence(signal);
      },
      never,
      20,
    );
    expect(results).toMatchObject([
      {
        status: 'rejected',
        reason: { code: 'E_STORE_UNREACHABLE', message: expect.stringContaining('/srv/dead') as string },
      },
      { status: 'fulfilled' },
    ]);
  });

  it('does not give up the one that is slow and goes on answering, until it falls silent', async () => {
    vi.useFakeTimers();
    let isGivenUp = false;
    let goesOn = (): void => undefined;
    const asked = askAll(
      [dead, quick],
      async (store, signal, heard) => {
        if (store === quick) return;
        goesOn = heard;
        signal.addEventListener('abort', () => (isGivenUp = true));
        await silence(signal);
      },
      never,
      1000,
    );
    for (let page = 0; page < 5; page += 1) {
      await vi.advanceTimersByTimeAsync(900);
      expect(isGivenUp).toBe(false);
      goesOn();
    }
    await vi.advanceTimersByTimeAsync(1100);
    expect(isGivenUp).toBe(true);
    expect(await asked).toMatchObject([
      { status: 'rejected', reason: { code: 'E_STORE_UNREACHABLE' } },
      { status: 'fulfilled' },
    ]);
  });

  it('waits for as long as it takes while none has answered', async () => {
    const answered = Promise.withResolvers<void>();
    const asked = askAll([dead], () => answered.promise, never, 0);
    answered.resolve();
    expect(await asked).toEqual([{ status: 'fulfilled', value: undefined }]);
  });

  it('keeps a refusal as it is, and the reason of an abort', async () => {
    const refusal = new TypeError('a defect');
    expect(await askAll([quick], () => Promise.reject(refusal), never)).toEqual([
      { status: 'rejected', reason: refusal },
    ]);
    const stop = new AbortController();
    const reason = new Error('enough');
    const asked = askAll([dead], (_, signal) => silence(signal), stop.signal);
    stop.abort(reason);
    expect(await asked).toEqual([{ status: 'rejected', reason }]);
  });
});

describe('asking one destination', () => {
  it('gives it up after a while, and gives what it answers before', async () => {
    await expect(askBriefly(dead, silence, never, 10)).rejects.toMatchObject({ code: 'E_STORE_UNREACHABLE' });
    expect(await askBriefly(quick, () => Promise.resolve('here'), never, 10_000)).toBe('here');
  });
});
