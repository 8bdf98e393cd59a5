/** Runs once, in the main process, before integration and e2e tests. */

import type { TestProject } from 'vitest/node';
import { ensureTestTools, type TestTools } from '../../scripts/test-tools.ts';
import { ServerDesk } from './shared-servers.ts';

type Shared = { desk: ServerDesk; tools: TestTools; users: number };

// Each project loads this file as a module of its own; one run still has one of each server.
declare global {
  var strongroomTestServers: Promise<Shared> | undefined;
}

/** @returns the teardown */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  globalThis.strongroomTestServers ??= open();
  const shared = await globalThis.strongroomTestServers;
  shared.users += 1;
  project.provide('servers', shared.desk.url);
  project.provide('localStackMissing', shared.tools.localStackMissing);
  return async () => {
    shared.users -= 1;
    if (shared.users > 0) return;
    globalThis.strongroomTestServers = undefined;
    await shared.desk[Symbol.asyncDispose]();
  };
}

async function open(): Promise<Shared> {
  const tools = await ensureTestTools();
  return { tools, desk: await ServerDesk.open(), users: 0 };
}
