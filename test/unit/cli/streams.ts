/** Streams that remember, in place of those of the process. */
import { PassThrough, Writable } from 'node:stream';
import type { Host } from '../../../src/cli/host.ts';

export class Capture extends Writable {
  text = '';
  isTTY = false;
  columns = 80;

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

export type Keyboard = PassThrough & { isTTY: boolean };

export function testHost(options: { isTerminal?: boolean; signal?: AbortSignal; cwd?: string } = {}): Host & {
  stdin: Keyboard;
  stdout: Capture;
  stderr: Capture;
} {
  const stderr = new Capture();
  stderr.isTTY = options.isTerminal === true;
  return {
    stdin: Object.assign(new PassThrough(), { isTTY: options.isTerminal === true }),
    stdout: new Capture(),
    stderr,
    env: {},
    cwd: options.cwd ?? '/',
    signal: options.signal ?? new AbortController().signal,
  };
}
