import { existsSync } from 'node:fs';
import { createConnection } from 'node:net';
import { describe, expect, test } from 'vitest';
import { freePort, runningProcesses, startProcess } from '../support/process.ts';

const node = process.execPath;

/** A server that answers on a port and has a child of its own in the same group. */
const SERVER = `
const { spawn } = require('node:child_process');
const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
if (process.argv[2] === 'stubborn') process.on('SIGTERM', () => {});
require('node:net').createServer((s) => s.end(String(child.pid))).listen(Number(process.argv[1]), '127.0.0.1');
`;

async function serve(...more: string[]) {
  const port = await freePort();
  const server = await startProcess({
    name: 'answering',
    command: node,
    args: ['-e', SERVER, String(port), ...more],
    ready: async () => (await read(port)) !== '',
    timeoutMs: 120_000,
    stopTimeoutMs: 300,
  });
  return { server, childPid: Number(await read(port)) };
}

function read(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    createConnection({ port, host: '127.0.0.1' })
      .on('data', (chunk: Buffer) => {
        text += chunk.toString();
      })
      .on('end', () => resolve(text))
      .on('error', reject);
  });
}

/** A killed orphan may wait for its reaper as a zombie: that is dead too. */
async function isDead(pid: number): Promise<boolean> {
  const { readFile } = await import('node:fs/promises');
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat === '' || stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
}

describe('startProcess', () => {
  test('is ready when ready says so, and stop takes the whole group along', async () => {
    const { server, childPid } = await serve();
    expect(existsSync(`/proc/${childPid}`)).toBe(true);
    expect(await server.stop()).toEqual({ code: null, signal: 'SIGTERM' });
    expect(await isDead(server.pid)).toBe(true);
    await expect.poll(() => isDead(childPid)).toBe(true);
    expect(await server.stop()).toEqual({ code: null, signal: 'SIGTERM' });
    expect(runningProcesses()).toEqual([]);
  });

  test('uses SIGKILL on a process that ignores SIGTERM', async () => {
    const { server } = await serve('stubborn');
    expect(await server.stop()).toEqual({ code: null, signal: 'SIGKILL' });
  });

  test('stops a paused process', async () => {
    const { server } = await serve();
    server.pause();
    expect(await server.stop()).toEqual({ code: null, signal: 'SIGTERM' });
  });

  test('fails at once, with the log, when the process ends before it is ready', async () => {
    const start = startProcess({
      name: 'dying',
      command: node,
      args: ['-e', 'console.log("no such port"); process.exit(7)'],
      ready: async () => false,
      timeoutMs: 120_000,
    });
    await expect(start).rejects.toThrow(/dying ended with code 7 before it was ready[^]*no such port/);
  });

  test('kills what misses its deadline, also when ready never answers', async () => {
    const start = startProcess({
      name: 'mute',
      command: node,
      args: ['-e', 'setInterval(() => {}, 1000)'],
      ready: () => new Promise(() => {}),
      timeoutMs: 200,
    });
    await expect(start).rejects.toThrow('mute was not ready after 200 ms');
    expect(runningProcesses()).toEqual([]);
  });

  test('names the command that does not exist', async () => {
    const start = startProcess({
      name: 'absent',
      command: '/nowhere',
      args: [],
      ready: async () => true,
      timeoutMs: 1,
    });
    await expect(start).rejects.toThrow('absent did not start: /nowhere');
  });

  test('stops waiting when aborted, with the reason given', async () => {
    const stop = new AbortController();
    const start = startProcess({
      name: 'aborted',
      command: node,
      args: ['-e', 'setInterval(() => {}, 1000)'],
      ready: async () => {
        stop.abort(new Error('enough'));
        return false;
      },
      timeoutMs: 120_000,
      signal: stop.signal,
    });
    await expect(start).rejects.toThrow('enough');
    expect(runningProcesses()).toEqual([]);
  });

  test('keeps the environment of the caller away from servers', async () => {
    process.env['AWS_CA_BUNDLE'] = '/somewhere';
    const port = await freePort();
    await using _server = await startProcess({
      name: 'env',
      command: node,
      args: [
        '-e',
        'require("node:net").createServer((s) => s.end(JSON.stringify(process.env))).listen(+process.argv[1])',
        String(port),
      ],
      env: { GIVEN: 'yes' },
      ready: async () => (await read(port)) !== '',
      timeoutMs: 120_000,
    });
    const seen: unknown = JSON.parse(await read(port));
    expect(seen).toMatchObject({ GIVEN: 'yes' });
    expect(seen).not.toHaveProperty('AWS_CA_BUNDLE');
    delete process.env['AWS_CA_BUNDLE'];
  });
});
