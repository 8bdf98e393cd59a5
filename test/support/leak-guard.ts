/** Setup file of every project: a test file that leaves something running fails. */

import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, afterEach } from 'vitest';
import { runningProcesses, startedLogs, tail } from './process.ts';

/**
 * What keeps a process from ending, as Node names it. Idle keep-alive sockets and unref'd timers are not counted by
 * Node; pipes are left out because the worker talks to its parent over them.
 */
const GUARDED = ['ProcessWrap', 'TCPSocketWrap', 'TCPServerWrap', 'Timeout', 'FSEvent'];

/** Sockets and children need time to be gone after their end was asked for: an idle one of the SDKs up to five seconds. */
const GRACE_MS = Number(process.env['STRONGROOM_LEAK_GRACE_MS'] ?? 8_000);
/** A cluster of three and its servers; more would bury the failed assertion. */
const LOGS_SHOWN = 5;

const before = count();

afterEach(async ({ task }) => {
  if (task.result?.state !== 'fail') return;
  for (const file of startedLogs().slice(-LOGS_SHOWN)) process.stderr.write(`${await tail(file)}\n`);
});

afterAll(async () => {
  const deadline = performance.now() + GRACE_MS;
  let left = leaks();
  while (left.length > 0 && performance.now() < deadline) {
    await wait(20);
    left = leaks();
  }
  // Not passed on to the next file, nor left on the machine.
  for (const server of runningProcesses()) await server.kill();
  if (left.length > 0) throw new Error(`left open by this test file: ${left.join(', ')}`);
});

function leaks(): string[] {
  const now = count();
  const handles = GUARDED.flatMap((kind) => {
    const more = (now.get(kind) ?? 0) - (before.get(kind) ?? 0);
    return more > 0 ? [`${more} ${kind}`] : [];
  });
  return [...runningProcesses().map((server) => `process ${server.name} (${server.pid})`), ...handles];
}

function count(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}
