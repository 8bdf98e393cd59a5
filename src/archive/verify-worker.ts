/** Runs in its own thread: reads the slots it is sent, gives them back, and says what it found. */
import { parentPort, workerData } from 'node:worker_threads';
import { ArchiveReader } from './read.ts';
import { type ForWorker, type FromWorker, plainError, SLOT_BYTES, type ToWorker } from './verify-messages.ts';

const { memory, options } = workerData as ForWorker;
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
  const pending = reader.write(new Uint8Array(memory, message.slot * SLOT_BYTES, message.bytes));
  if (pending !== undefined) await pending;
  say({ slot: message.slot });
}

function fail(e: unknown): void {
  hasFailed = true;
  reader.close();
  say({ failure: plainError(e) });
}

function say(message: FromWorker): void {
  parentPort?.postMessage(message);
}
