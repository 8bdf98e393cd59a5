/** One input against the rules: an error of ours or none, in bounded time and memory. */
import { readFileSync, writeFileSync } from 'node:fs';
import { setImmediate as tick } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { isError } from '../../../src/core/errors.ts';
import { type Target, Violation } from './target.ts';

export type Problem = {
  kind: 'error' | 'violation' | 'slow' | 'memory' | 'stray' | 'crash' | 'hang';
  message: string;
};

/** Processor time of one input. The longest are some tens of milliseconds, in a cold process on a busy machine. */
const MAX_CPU_MS = 1_000;
/** Above what was in use before. No reader promises more than a few hundred KB; zlib and the collector take their time. */
const MAX_GROWTH_BYTES = 64 * 2 ** 20;
/** A message is for people: a foreign file may not fill a screen with it, nor command a terminal. */
const MAX_MESSAGE = 20_000;
const CONTROL = /[^\P{Cc}\n]/u;

export class Judge {
  readonly #target: Target;
  readonly #before: (input: Buffer) => void;
  #stray: { reason: unknown } | undefined;
  #peakBytes = process.resourceUsage().maxRSS * 1024;

  /** `before` is told of every input before it runs: whoever watches can name it when it never ends. */
  constructor(target: Target, before: (input: Buffer) => void) {
    this.#target = target;
    this.#before = before;
    const keep = (reason: unknown): void => {
      this.#stray = { reason };
    };
    process.on('unhandledRejection', keep);
    process.on('uncaughtException', keep);
  }

  /** What is wrong with this input, or null. What is thrown where nobody waits shows only in {@link Judge.settle}. */
  async run(input: Buffer): Promise<Problem | null> {
    largest = 0;
    const found = await this.#measure(input);
    if (found.problem !== null) return found.problem;
    if (largest > MAX_GROWTH_BYTES) return problem('memory', `a buffer of ${Math.round(largest / 2 ** 20)} MiB`);
    // What is only suspicious has to do it twice: a collection or a compilation may have fallen into the first run.
    if (found.cpuMs > MAX_CPU_MS) {
      const again = await this.#measure(input);
      if (again.cpuMs > MAX_CPU_MS) return problem('slow', `${Math.round(again.cpuMs)} ms of processor time`);
    }
    return found.grownBytes > MAX_GROWTH_BYTES ? await this.#confirmMemory(input) : null;
  }

  /** Looks once more at what only shows later: errors that nobody catches, and memory that was given back before a run ended. */
  async settle(batch: readonly Buffer[]): Promise<{ input: Buffer; problem: Problem } | null> {
    await tick();
    const peak = process.resourceUsage().maxRSS * 1024;
    const isSuspicious = this.#stray !== undefined || peak - this.#peakBytes > MAX_GROWTH_BYTES;
    this.#peakBytes = peak;
    if (!isSuspicious) return null;
    const late = this.#stray;
    this.#stray = undefined;
    for (const input of batch) {
      const found = (await this.run(input)) ?? (await this.#confirmMemory(input));
      await tick();
      if (this.#stray !== undefined) {
        const { reason } = this.#stray;
        this.#stray = undefined;
        return { input, problem: problem('stray', `nobody catches ${nameOf(reason)}`) };
      }
      if (found !== null) return { input, problem: found };
    }
    const [first] = batch;
    if (late === undefined || first === undefined) return null;
    return { input: first, problem: problem('stray', `nobody catches ${nameOf(late.reason)}; not of one input`) };
  }

  async #measure(input: Buffer): Promise<{ problem: Problem | null; cpuMs: number; grownBytes: number }> {
    this.#before(input);
    const memory = usedBytes();
    const cpu = process.threadCpuUsage();
    const found = await this.#outcome(input);
    const { user, system } = process.threadCpuUsage(cpu);
    return { problem: found, cpuMs: (user + system) / 1000, grownBytes: usedBytes() - memory };
  }

  async #outcome(input: Buffer): Promise<Problem | null> {
    // The readers may keep nothing of it, and change nothing in it.
    const copy = Buffer.from(input);
    try {
      await this.#target.run(copy);
    } catch (e) {
      if (e instanceof Violation) return problem('violation', e.message);
      const found = this.#error(e);
      if (found !== null) return found;
    }
    return copy.equals(input) ? null : problem('violation', 'the input was written to');
  }

  #error(e: unknown): Problem | null {
    if (!isError(e)) return problem('error', nameOf(e));
    if (!this.#target.codes.includes(e.code)) return problem('error', `unexpected ${nameOf(e)}`);
    for (const text of [e.message, e.hint ?? '']) {
      if (text.length > (this.#target.maxMessage ?? MAX_MESSAGE))
        return problem('error', `a message of ${text.length} characters in ${e.code}`);
      if (CONTROL.test(text)) return problem('error', `control characters in the message of ${nameOf(e)}`);
    }
    try {
      JSON.stringify(e.toJSON());
      return null;
    } catch (cause) {
      return problem('error', `${e.code} cannot be written to a log: ${nameOf(cause)}`);
    }
  }

  /** The real peak, as the kernel saw it. */
  async #confirmMemory(input: Buffer): Promise<Problem | null> {
    collectGarbage();
    const before = kernelBytes('VmRSS');
    if (!resetPeak()) return null;
    await this.#measure(input);
    const grown = kernelBytes('VmHWM') - before;
    return grown > MAX_GROWTH_BYTES ? problem('memory', `${Math.round(grown / 2 ** 20)} MiB more than before`) : null;
  }
}

/** The largest buffer that was asked for: memory that is never written to is none for the kernel. */
let largest = 0;
for (const name of ['alloc', 'allocUnsafe', 'allocUnsafeSlow'] as const) {
  const original = Buffer[name] as (size: number, ...rest: unknown[]) => Buffer;
  Object.defineProperty(Buffer, name, {
    value: (size: number, ...rest: unknown[]): Buffer => {
      largest = Math.max(largest, size);
      return original.call(Buffer, size, ...rest);
    },
  });
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function problem(kind: Problem['kind'], message: string): Problem {
  return { kind, message };
}

function nameOf(e: unknown): string {
  if (!(e instanceof Error)) return JSON.stringify(e) ?? 'undefined';
  const where = e.stack?.split('\n').find((line) => line.trimStart().startsWith('at ')) ?? '';
  const code = isError(e) ? `${e.code} ` : '';
  return `${e.name}: ${code}${JSON.stringify(e.message.slice(0, 500))}${where === '' ? '' : ` ${where.trim()}`}`;
}

function usedBytes(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Linux forgets the peak of a process that writes this. */
function resetPeak(): boolean {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
    return true;
  } catch {
    return false;
  }
}

function kernelBytes(name: 'VmRSS' | 'VmHWM'): number {
  try {
    const match = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(readFileSync('/proc/self/status', 'utf8'));
    return Number(match?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
