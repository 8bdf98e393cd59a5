/** Processes of `lease-run.ts`, what they say, and snapshots that lack nothing but their manifest. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Manifest } from '../../src/catalogue/manifest.ts';
import type { SnapshotId } from '../../src/core/ids.ts';
import { latestKey, objectKey } from '../../src/store/layout.ts';
import type { LeaseRunEvent, LeaseRunOrder } from './lease-run.ts';
import { baseEnv } from './process.ts';
import type { Shelf } from './shelf.ts';
import { until } from './until.ts';

const PROGRAM = fileURLToPath(new URL('lease-run.ts', import.meta.url));
const never = new AbortController().signal;

/** Whoever starts it disposes it: it is killed then, if it is not gone. */
export class LeaseRun implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly events: LeaseRunEvent[] = [];
  readonly #exited: Promise<unknown>;
  #stderr = '';
  #rest = '';

  private constructor(child: ChildProcess) {
    this.child = child;
    this.#exited = once(child, 'close');
    child.stdin?.on('error', () => undefined);
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (this.#rest + text).split('\n');
      this.#rest = lines.pop() ?? '';
      this.events.push(...lines.map((line) => JSON.parse(line) as LeaseRunEvent));
    });
  }

  /** Resolves when it is ready to take. */
  static async start(
    shelf: Shelf,
    order: { ttlMs: number; waitMs?: number; host: string | null; configFile?: string },
  ): Promise<LeaseRun> {
    const { ttlMs, host, waitMs = 0, configFile = shelf.app.configFile } = order;
    const whole: LeaseRunOrder = { ttlMs, host, waitMs, configFile };
    const child = spawn(process.execPath, [PROGRAM, JSON.stringify(whole)], {
      env: { ...baseEnv(), ...shelf.app.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const run = new LeaseRun(child);
    await run.saw('ready');
    return run;
  }

  say(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  /** The first event of one of these names; throws when it ends without. */
  async saw(...names: string[]): Promise<LeaseRunEvent> {
    return await until(`a lease run to say ${names.join(' or ')}`, async () => {
      const found = this.events.find(({ event }) => names.includes(event));
      if (found !== undefined) return found;
      if (this.child.exitCode === null && this.child.signalCode === null) return undefined;
      throw new Error(`it ended and said ${JSON.stringify(this.events)}\n${this.#stderr}`);
    });
  }

  async takes(): Promise<LeaseRunEvent> {
    this.say('take');
    return await this.saw('taken', 'refused');
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.#exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
    await this.#exited;
  }
}

/** A snapshot as a run has it right before it publishes; gives the manifest that it would write. */
export async function unpublished(shelf: Shelf): Promise<Manifest & { snapshot: SnapshotId }> {
  const manifest = await shelf.publish();
  const { cluster, destinations } = shelf.deps;
  for (const { store } of destinations) {
    for (const kind of ['manifests', 'sigs'] as const) {
      await store.delete(objectKey(cluster, kind, manifest.snapshot), { signal: never });
    }
    await store.delete(latestKey(cluster), { signal: never });
  }
  return manifest;
}

export function publishLine(manifest: Manifest): string {
  return `publish ${Buffer.from(JSON.stringify(manifest)).toString('base64')}`;
}
