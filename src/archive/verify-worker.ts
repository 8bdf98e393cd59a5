/** Runs in its own thread: reads the slots it is sent, gives them back, and says what it found. */
import { parentPort, workerData } from 'node:worker_threads';
import { ArchiveReader } from './read.ts';
import { type ForWorker, type FromWorker, plainError, type ToWorker } from './verify-messages.ts';

const { options } = workerData as ForWorker;
const reader = new ArchiveReader(options);
let hasFailed = false;
let work: Promise<void> = Promise.resolve();

parentPort?.on('message', (message: ToWorker) => {
  work = work.then(() => handle(message)).catch(fail);
});

async function handle(message: ToWorker): Promise<void> {
  if (hasFailed) return;
  if ('end' in message) {
    say({ report: reader.end() });
    reader.close();
    return;
  }
  const { slot, bytes } = message;
  const pending = reader.write(new Uint8Array(slot, 0, bytes));
  if (pending !== undefined) await pending;
  say({ slot }, [slot]);
}

function fail(e: unknown): void {
  hasFailed = true;
  reader.close();
  say({ failure: plainError(e) });
}

function say(message: FromWorker, moved: readonly ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, moved);
}
