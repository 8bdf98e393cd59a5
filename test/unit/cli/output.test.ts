import { describe, expect, it } from 'vitest';
import { primaryFailure, renderFailure } from '../../../src/cli/failure.ts';
import { modeOf } from '../../../src/cli/host.ts';
import { type Column, createOutput, keyValues, table } from '../../../src/cli/output.ts';
import { StrongroomError } from '../../../src/core/errors.ts';
import { testHost } from './streams.ts';

const TEXT = { json: false, verbose: false };
const JSON_MODE = { json: true, verbose: false };

describe('the mode', () => {
  it.each([
    [['backup', '--json'], true],
    [['backup', '--json=true'], true],
    [['backup', '--json=false'], false],
    [['backup', '--jsonx'], false],
    [['inspect', '--', '--json'], false],
  ])('of %j is JSON: %s', (argv, json) => {
    expect(modeOf(argv, {}).json).toBe(json);
  });

  it('is verbose by flag or by STRONGROOM_DEBUG', () => {
    expect(modeOf(['-v'], {}).verbose).toBe(true);
    expect(modeOf(['--verbose'], {}).verbose).toBe(true);
    expect(modeOf([], { STRONGROOM_DEBUG: '1' }).verbose).toBe(true);
    expect(modeOf([], { STRONGROOM_DEBUG: '0' }).verbose).toBe(false);
    expect(modeOf([], {}).verbose).toBe(false);
  });
});

describe('output', () => {
  it('is data on standard output and talk on standard error', () => {
    const host = testHost();
    const output = createOutput(host, TEXT);
    output.say('hello');
    output.warn('careful');
    output.result({ a: 1 }, () => 'one');
    expect(host.stdout.text).toBe('one\n');
    expect(host.stderr.text).toBe('hello\nwarning: careful\n');
  });

  it('is one document, and lines of JSON, in JSON mode', () => {
    const host = testHost();
    const output = createOutput(host, JSON_MODE);
    output.say('hello');
    output.warn('careful');
    output.result({ a: 1 }, () => 'one');
    expect(host.stdout.text).toBe('{"a":1}\n');
    expect(host.stderr.text).toBe('{"warning":"careful"}\n');
  });

  it('lays tables out, and shows control characters of others as what they are', () => {
    const rows = [
      { name: 'bao-0', bytes: 5 },
      { name: 'b\u001b[2Jx\ny', bytes: 1234 },
    ];
    const columns: Column<(typeof rows)[number]>[] = [
      { title: 'NODE', value: (row) => row.name },
      { title: 'BYTES', value: (row) => String(row.bytes), align: 'right' },
    ];
    expect(table(rows, columns)).toBe('NODE      BYTES\nbao-0         5\nb\ufffd[2Jx y   1234');
    expect(table([], columns)).toBe('NODE  BYTES');
    expect(
      keyValues([
        ['id', 'x'],
        ['missing', undefined],
        ['cluster', 'y'],
      ]),
    ).toBe('id       x\ncluster  y');
  });
});

describe('a failure', () => {
  const failure = new StrongroomError('E_STORE_DENIED', 'put to primary refused', {
    hint: 'check the bucket policy',
    details: { key: 'v1/x' },
    cause: Object.assign(new Error('403'), { code: 'AccessDenied', cause: new Error('deep') }),
  });

  it('is one line and a hint', () => {
    expect(renderFailure(failure, TEXT)).toBe(
      'error E_STORE_DENIED: put to primary refused\n  hint: check the bucket policy\n',
    );
  });

  it('shows its causes on request', () => {
    expect(renderFailure(failure, { json: false, verbose: true })).toBe(
      'error E_STORE_DENIED: put to primary refused\n  hint: check the bucket policy\n  key: "v1/x"\n' +
        '  cause: AccessDenied: 403\n  cause: deep\n',
    );
  });

  it('is an object in JSON mode', () => {
    expect(JSON.parse(renderFailure(failure, JSON_MODE))).toEqual({
      error: {
        code: 'E_STORE_DENIED',
        message: 'put to primary refused',
        hint: 'check the bucket policy',
        details: { key: 'v1/x' },
        retryable: false,
        causes: ['AccessDenied: 403', 'deep'],
        exitCode: 14,
      },
    });
  });

  it('that is none of ours is a defect', () => {
    expect(renderFailure(new TypeError('x is undefined'), TEXT)).toMatch(
      /^error E_BUG: x is undefined\n {2}hint: a defect/,
    );
    expect(renderFailure(new TypeError('x is undefined'), { json: false, verbose: true })).toContain('output.test.ts');
    expect(JSON.parse(renderFailure('thrown text', JSON_MODE))).toMatchObject({
      error: { code: 'E_BUG', message: 'thrown text', exitCode: 1 },
    });
  });

  it('is the first one, not that of the closing after it; and the reason of an abort', async () => {
    const signal = new AbortController().signal;
    const run = async (): Promise<void> => {
      await using _closing = { [Symbol.asyncDispose]: () => Promise.reject(new Error('closing')) };
      throw failure;
    };
    const caught: unknown = await run().catch((e: unknown) => e);
    expect(caught).not.toBe(failure);
    expect(primaryFailure(caught, signal)).toBe(failure);
    const reason = new StrongroomError('E_INTERRUPTED', 'stopped by SIGINT');
    const abort = new DOMException('This operation was aborted', 'AbortError');
    expect(primaryFailure(abort, AbortSignal.abort(reason))).toBe(reason);
    expect(primaryFailure(failure, AbortSignal.abort(reason))).toBe(failure);
  });
});
