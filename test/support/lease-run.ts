/**
 * A run that takes a lease, as a process that tests can kill and stop. What happens is a line of JSON on standard output: `ready`,
 * `taken`, `refused`, `lost`, `announced`, `published`, `unpublished`, `released`. A line on standard input makes it go on: `take`, then
 * `announce <snapshot>`, `publish <manifest in base64>`, `release`. Keys and data of the snapshot must be there already.
 */
import { createInterface } from 'node:readline';
import { tombstones } from '../../src/backup/fence.ts';
import { publish } from '../../src/backup/publish.ts';
import type { Manifest } from '../../src/catalogue/manifest.ts';
import { isError } from '../../src/core/errors.ts';
import { newRunId, type SnapshotId } from '../../src/core/ids.ts';
import { thisProcess } from '../../src/lease/holder.ts';
import type { Lease } from '../../src/lease/lease.ts';
import { takeLease } from '../../src/lease/take.ts';
import { openApp } from './strongroom-app.ts';

export type LeaseRunOrder = {
  configFile: string;
  ttlMs: number;
  waitMs: number;
  /** pretends to be on a machine of this name, of whose processes nobody here can know */
  host: string | null;
};

export type LeaseRunEvent = { event: string; code?: string; message?: string; onRecord?: string[]; aborted?: boolean };

const never = new AbortController().signal;

function tell(event: LeaseRunEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

function failure(event: string, e: unknown, lease: Lease | null): LeaseRunEvent {
  if (!isError(e)) throw e;
  return { event, code: e.code, message: e.message, ...(lease === null ? {} : { aborted: lease.signal.aborted }) };
}

async function main(order: LeaseRunOrder): Promise<void> {
  await using app = await openApp({ configFile: order.configFile, env: process.env as Record<string, string> });
  const deps = await app.backupDeps('prod', never);
  const { cluster, clock, log, destinations } = deps;
  const stores = destinations.map(({ store }) => store);
  const run = newRunId(new Date());
  const self = order.host === null ? thisProcess() : { ...thisProcess(), host: order.host, space: order.host };
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  tell({ event: 'ready' });
  // Starting takes each process its own time: the word comes when all are ready.
  await lines.next();
  let lease: Lease;
  try {
    const options = {
      need: 'any',
      waitMs: order.waitMs,
      run,
      door: 'lease-run',
      fence: tombstones(deps, run),
    } as const;
    lease = await takeLease({ cluster, stores, clock, log, ttlMs: order.ttlMs, self }, options, never);
  } catch (e) {
    tell(failure('refused', e, null));
    return;
  }
  lease.signal.addEventListener('abort', () => tell(failure('lost', lease.signal.reason, lease)), { once: true });
  tell({ event: 'taken', onRecord: [...lease.heldIn] });
  let onRecord: readonly string[] = [];
  for (let line = await lines.next(); line.done !== true; line = await lines.next()) {
    const [verb = '', argument = ''] = line.value.split(' ');
    try {
      if (verb === 'release') break;
      if (verb === 'announce') {
        onRecord = await lease.willPublish(argument as SnapshotId, never);
        tell({ event: 'announced', onRecord: [...onRecord] });
      } else if (verb === 'publish') {
        const manifest = JSON.parse(Buffer.from(argument, 'base64').toString()) as Manifest;
        // As if it had been stopped after the last look at its own signal: only the store itself can still refuse.
        await publish(deps, manifest, { holders: destinations, onRecord }, never);
        tell({ event: 'published' });
      }
    } catch (e) {
      tell(failure(`un${verb}ed`, e, lease));
    }
  }
  await lease[Symbol.asyncDispose]();
  tell({ event: 'released' });
}

await main(JSON.parse(process.argv[2] ?? '{}') as LeaseRunOrder);
process.stdin.destroy();
