import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { readArchive } from '../../../src/archive/read.ts';
import { verifyArchive } from '../../../src/archive/verify.ts';
import { ThreadedReader } from '../../../src/archive/verify-thread.ts';
import { type Bytes, collect, discard, flow } from '../../../src/core/flow.ts';
import * as build from '../../support/archive-builder.ts';

const REAL = await readFile(new URL('../../fixtures/archives/openbao-2.7.2-shamir.snap', import.meta.url));
const quiet = new AbortController().signal;

/** Threads of this process; those of the test runner stay the same while a test runs. */
const threads = () => process.getActiveResourcesInfo().filter((name) => name === 'MessagePort').length;
function thrownBy(action: () => unknown): unknown {
  try {
    action();
    return null;
  } catch (e) {
    return e;
  }
}

const unhandled: unknown[] = [];
process.on('unhandledRejection', (e) => unhandled.push(e));
let before = threads();
afterEach(async () => {
  await turn();
  expect(unhandled).toEqual([]);
  expect(threads()).toBe(before);
  before = threads();
});

describe.each([false, true])('the verify stage (threaded: %s)', (threaded) => {
  it('passes a good archive on unchanged, and reports as readArchive does', async () => {
    const { stage, report } = verifyArchive({ signal: quiet, threaded, hashArchive: true });
    const source = build.chunked(REAL, 1000);
    const passed = await flow(source, [stage], (body) => collect(body, REAL.length), quiet);
    expect(REAL.equals(passed)).toBe(true);
    expect(await report).toEqual(await readArchive(build.chunked(REAL), { hashArchive: true }));
  });

  it('takes a compressed archive, and one chunk larger than the memory between the threads', async () => {
    const records = build.sorted([
      ...build.coreRecords('vault'),
      { key: 'zz', value: Buffer.alloc(20 << 20, 'no ciphertext') },
    ]);
    const large = build.encodeArchive(records);
    const { stage, report } = verifyArchive({ signal: quiet, threaded });
    await flow(build.chunked(large, large.length), [stage], discard, quiet);
    expect((await report).bytes).toBe(large.length);
    const deflated = build.encodeArchive(build.coreRecords('vault'), { form: 'deflate' });
    const second = verifyArchive({ signal: quiet, threaded });
    await flow(build.chunked(deflated, 10), [second.stage], discard, quiet);
    expect(await second.report).toMatchObject({ product: 'vault', compression: 'deflate' });
  });

  it.each([
    ['a wrong footer', Buffer.concat([REAL.subarray(0, -1), Buffer.from([1])]), 'E_SNAPSHOT_CHECKSUM'],
    ['a cut in state.bin', REAL.subarray(0, 30_000), 'E_SNAPSHOT_TRUNCATED'],
    ['a stump', REAL.subarray(0, 10), 'E_SNAPSHOT_TRUNCATED'],
    ['a byte behind', Buffer.concat([REAL, Buffer.from([0])]), 'E_SNAPSHOT_FORMAT'],
    ['nothing', Buffer.alloc(0), 'E_SNAPSHOT_TRUNCATED'],
  ])('withholds the end of an archive with %s', async (_, archive, code) => {
    const { stage, report } = verifyArchive({ signal: quiet, threaded });
    const passed: Uint8Array[] = [];
    let ended = false;
    const run = async () => {
      for await (const chunk of stage(build.chunked(archive, 5000))) passed.push(chunk);
      ended = true;
    };
    const expected = await readArchive(build.chunked(archive)).catch((e: unknown) => e);
    await expect(run()).rejects.toMatchObject({ code });
    expect(ended).toBe(false);
    // The same error in every word, the other side of the thread too.
    const error = await report.catch((e: unknown) => e);
    expect(JSON.stringify(error)).toBe(JSON.stringify(expected));
    expect(Buffer.concat(passed).equals(archive.subarray(0, Buffer.concat(passed).length))).toBe(true);
  });

  it('throws early: an endless source that is no archive does not run on', async () => {
    async function* endless(): Bytes {
      for (;;) {
        yield Buffer.alloc(1000, '<html>');
        await turn();
      }
    }
    const { stage } = verifyArchive({ signal: quiet, threaded });
    await expect(discard(stage(endless()))).rejects.toMatchObject({ code: 'E_SNAPSHOT_FORMAT' });
  });

  it('refuses an archive without sealed sums, unless told otherwise', async () => {
    const sanitised = build.encodeGzip(
      build.encodeTar(build.goodMembers(build.encodeState(build.coreRecords())).slice(0, 3)),
    );
    const strict = verifyArchive({ signal: quiet, threaded });
    await expect(discard(strict.stage(build.chunked(sanitised)))).rejects.toMatchObject({
      code: 'E_SNAPSHOT_UNSEALED',
    });
    const lenient = verifyArchive({ signal: quiet, threaded, requireSealedSums: false });
    await discard(lenient.stage(build.chunked(sanitised)));
    expect((await lenient.report).seal.sealedSums).toBe('absent');
  });

  it('ends with the reason of an abort, and so does the report', async () => {
    const controller = new AbortController();
    const reason = new Error('stopped by hand');
    let closed = false;
    async function* source(): Bytes {
      try {
        yield REAL.subarray(0, 20_000);
        controller.abort(reason);
        yield REAL.subarray(20_000);
      } finally {
        closed = true;
      }
    }
    const { stage, report } = verifyArchive({ signal: controller.signal, threaded });
    await expect(flow(source(), [stage], discard, controller.signal)).rejects.toBe(reason);
    await expect(report).rejects.toBe(reason);
    expect(closed).toBe(true);
  });

  it('gives no verdict after an abort, even when everything has been read', async () => {
    const controller = new AbortController();
    async function* source(): Bytes {
      yield REAL;
      controller.abort(new Error('too late'));
    }
    const { stage, report } = verifyArchive({ signal: controller.signal, threaded });
    await expect(discard(stage(source()))).rejects.toThrow('too late');
    await expect(report).rejects.toThrow('too late');
  });

  it('gives no report when the consumer stops before the end', async () => {
    const { stage, report } = verifyArchive({ signal: quiet, threaded });
    for await (const _ of stage(build.chunked(REAL, 1000))) break;
    await expect(report).rejects.toMatchObject({ code: 'E_INTERRUPTED' });
  });

  it('reports the reason of an abort at which the consumer left', async () => {
    const controller = new AbortController();
    const { stage, report } = verifyArchive({ signal: controller.signal, threaded });
    for await (const _ of stage(build.chunked(REAL, 1000))) {
      controller.abort(new Error('gone'));
      break;
    }
    await expect(report).rejects.toThrow('gone');
  });

  it('passes the error of its source on', async () => {
    const broken = new Error('connection reset');
    async function* source(): Bytes {
      yield REAL.subarray(0, 5000);
      throw broken;
    }
    const { stage, report } = verifyArchive({ signal: quiet, threaded });
    await expect(discard(stage(source()))).rejects.toBe(broken);
    await expect(report).rejects.toBe(broken);
  });

  it('is for one archive', async () => {
    const { stage } = verifyArchive({ signal: quiet, threaded });
    await discard(stage(build.chunked(REAL)));
    await expect(discard(stage(build.chunked(REAL)))).rejects.toMatchObject({ code: 'E_BUG' });
  });
});

describe('the reading thread', () => {
  it('makes the writer wait behind 8 MiB', async () => {
    const reader = new ThreadedReader({ signal: quiet });
    try {
      const piece = new Uint8Array(1 << 20);
      let written = 0;
      let waiting = reader.write(REAL);
      // Nothing is given back before this thread has had a turn.
      for (; waiting === undefined && written < 20; written += 1) waiting = reader.write(piece);
      expect(written).toBe(8);
      // The zeros behind the footer are no archive: sooner or later a write says so.
      await expect(async () => {
        await waiting;
        for (;;) await reader.write(piece);
      }).rejects.toMatchObject({ code: 'E_SNAPSHOT_FORMAT' });
    } finally {
      await reader.close();
    }
  });

  it('looks at the first bytes at once, however few they are', async () => {
    const reader = new ThreadedReader({ signal: quiet });
    try {
      void reader.write(Buffer.from('<html>'));
      await expect
        .poll(() => thrownBy(() => reader.write(new Uint8Array(0))), { timeout: 10_000 })
        .toMatchObject({
          code: 'E_SNAPSHOT_FORMAT',
        });
    } finally {
      await reader.close();
    }
  });

  it('wakes a waiting writer on abort', async () => {
    const controller = new AbortController();
    const reader = new ThreadedReader({ signal: controller.signal });
    try {
      const archive = build.encodeArchive(
        build.sorted([...build.coreRecords(), { key: 'zz', value: Buffer.alloc(40 << 20) }]),
      );
      const waiting = reader.write(archive);
      expect(waiting).toBeInstanceOf(Promise);
      const reason = new Error('enough');
      controller.abort(reason);
      await expect(waiting).rejects.toBe(reason);
    } finally {
      await reader.close();
    }
  });

  it('is found out when it dies', async () => {
    const reader = new ThreadedReader({ signal: quiet });
    await reader.close();
    await expect(reader.end()).rejects.toMatchObject({ code: 'E_BUG' });
  });
});

it('does not keep the process when the source never comes to an end but the signal fires', async () => {
  const controller = new AbortController();
  async function* hanging(): Bytes {
    yield REAL.subarray(0, 1000);
    await once(controller.signal, 'abort');
  }
  const { stage, report } = verifyArchive({ signal: controller.signal });
  const running = flow(hanging(), [stage], discard, controller.signal);
  await turn();
  controller.abort(new Error('time is up'));
  await expect(running).rejects.toThrow('time is up');
  await expect(report).rejects.toThrow('time is up');
});
