import { describe, expect, it } from 'vitest';
import { confirmName, promptSecret } from '../../../src/cli/prompt.ts';
import { testHost } from './streams.ts';

describe('the confirmation', () => {
  it('is the exact name', async () => {
    const host = testHost({ isTerminal: true });
    const answer = confirmName(host, 'prod-eu-1', '--confirm');
    host.stdin.write('prod-eu-1\n');
    await answer;
    expect(host.stderr.text).toContain('type prod-eu-1 to go on: ');
  });

  it.each(['prod-eu-2', 'y', '', 'PROD-EU-1'])('is not "%s"', async (typed) => {
    const host = testHost({ isTerminal: true });
    const answer = confirmName(host, 'prod-eu-1', '--confirm');
    host.stdin.write(`${typed}\n`);
    await expect(answer).rejects.toMatchObject({ code: 'E_CONFIRMATION' });
  });

  it('is refused without a terminal, whatever is piped in', async () => {
    const host = testHost();
    host.stdin.end('prod-eu-1\n');
    await expect(confirmName(host, 'prod-eu-1', '--confirm')).rejects.toMatchObject({
      code: 'E_CONFIRMATION',
      hint: '--confirm prod-eu-1',
    });
  });

  it('is refused when the input ends', async () => {
    const host = testHost({ isTerminal: true });
    const answer = confirmName(host, 'prod-eu-1', '--confirm');
    host.stdin.end();
    await expect(answer).rejects.toMatchObject({ code: 'E_CONFIRMATION', message: 'no answer: the input ended' });
  });

  it('ends with Ctrl-C and with an abort', async () => {
    const host = testHost({ isTerminal: true });
    const answer = confirmName(host, 'prod-eu-1', '--confirm');
    host.stdin.write('\u0003');
    await expect(answer).rejects.toMatchObject({ code: 'E_INTERRUPTED' });

    const stop = new AbortController();
    const other = testHost({ isTerminal: true, signal: stop.signal });
    const waiting = confirmName(other, 'prod-eu-1', '--confirm');
    const reason = new Error('enough');
    stop.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    expect(other.stdin.listenerCount('keypress')).toBe(0);
  });
});

describe('a secret', () => {
  it('is typed without echo', async () => {
    const host = testHost({ isTerminal: true });
    const answer = promptSecret(host, 'unseal key share 1');
    host.stdin.write('hunter2\n');
    expect((await answer).reveal()).toBe('hunter2');
    expect(host.stderr.text).toBe('unseal key share 1 (not shown): \n');
    expect(host.stdout.text).toBe('');
  });

  it('is not nothing, and not read from a pipe', async () => {
    const host = testHost({ isTerminal: true });
    const answer = promptSecret(host, 'a share');
    host.stdin.write('\n');
    await expect(answer).rejects.toMatchObject({ code: 'E_PRECONDITION', message: 'nothing was typed for a share' });
    await expect(promptSecret(testHost(), 'a share')).rejects.toMatchObject({ code: 'E_PRECONDITION' });
  });
});
