/** Everything the tests run besides Node: `node scripts/test-tools.ts` makes all of it ready before the first test. */

import { findOnPath } from './tools/path.ts';
import { findPython } from './tools/python.ts';
import { ToolError } from './tools/tool-error.ts';
import { ensureJq, ensureTool, type ToolName } from './tools.ts';

/** Two queues: one keeps the processor busy, the other mostly waits for the network. */
const FETCHED: readonly ToolName[] = ['bao-2.6.2', 'bao-2.7.2', 'aws', 'moto', 'redis-8.2.3', ...oldestRedis()];
const BUILT: readonly ToolName[] = ['versitygw', 'age', 'age-keygen', 'promtool'];

/** What the recovery commands of the break-glass page are made of, and the Debian package each is in. */
const FROM_THE_MACHINE = { openssl: 'openssl', base64: 'coreutils', split: 'coreutils' } as const;

export type TestTools = {
  /** why there is no LocalStack here, or '' when there is */
  localStackMissing: string;
};

/**
 * LocalStack needs Python >= 3.12, which not every machine has: without it its tests are skipped, and that is said on
 * stderr. With CI=true it is an error, as everything else that is missing always is.
 *
 * @throws ToolError, one line with the command that mends it
 */
export async function ensureTestTools(): Promise<TestTools> {
  for (const [program, debian] of Object.entries(FROM_THE_MACHINE)) {
    if (!findOnPath(program)) throw new ToolError(`no ${program} on PATH`, `apt-get install -y ${debian}`);
  }
  const localStackMissing = await whyNoLocalStack();
  const stop = new AbortController();
  const queue = async (names: readonly ToolName[]): Promise<void> => {
    try {
      for (const name of names) await ensureTool(name, stop.signal);
    } catch (error) {
      stop.abort(error); // the other queue would go on for minutes
      throw error;
    }
  };
  const built = queue(BUILT).then(() => ensureJq(stop.signal));
  const fetched = queue(localStackMissing === '' ? [...FETCHED, 'localstack'] : FETCHED);
  await Promise.allSettled([built, fetched]);
  stop.signal.throwIfAborted();
  await built;
  return { localStackMissing };
}

/** There is no wheel of it for other processors; the newer one stands for both there. */
export function oldestRedis(): readonly ToolName[] {
  return process.arch === 'x64' ? ['redis-6.2.14'] : [];
}

async function whyNoLocalStack(): Promise<string> {
  try {
    await findPython(12);
    return '';
  } catch (error) {
    if (!(error instanceof ToolError) || process.env['CI'] === 'true') throw error;
    console.error(`tools: NO LOCALSTACK, ITS TESTS WILL BE SKIPPED: ${error.message}`);
    return error.message;
  }
}

if (import.meta.main) {
  try {
    await ensureTestTools();
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}
