/**
 * The main job, for real, on this machine: a three-node OpenBao cluster sealed by a KMS is backed up to two buckets, killed,
 * and brought back into a fresh cluster; then everything is compared. `--keep` leaves it running.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { formatDuration } from '../src/core/units.ts';
import { type Act, openStage } from './quickstart/stage.ts';
import { tell } from './quickstart/tell.ts';

const KEEP_ALIVE_MS = 60_000;

const keep = process.argv.includes('--keep');
const unknown = process.argv.slice(2).filter((arg) => arg !== '--keep');
if (unknown.length > 0) {
  process.stderr.write(`quickstart takes --keep and nothing else, not ${unknown.join(' ')}\n`);
  process.exit(2);
}
const abort = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => abort.abort(new Error(`stopped by ${signal}`)));

try {
  await run(abort.signal);
} catch (e) {
  if (!abort.signal.aborted)
    process.stderr.write(`\nquickstart failed: ${e instanceof Error ? e.message : String(e)}\n`);
  process.exitCode = abort.signal.aborted ? 130 : 1;
}

async function run(signal: AbortSignal): Promise<void> {
  const begin = performance.now();
  await using stage = await openStage(signal);
  const took: Act[] = [];

  tell.chapter('1', 'a three-node OpenBao 2.6.2 cluster, auto-unsealed by a KMS');
  const source = await stage.startSource(took);
  tell.chapter('2', 'secrets in several engines');
  const seed = await stage.seed(source, took);
  tell.chapter('3', 'backup to two buckets: snapshot, verify, encrypt, upload, read back, sign');
  const backup = await stage.backup(took);
  tell.chapter('4', 'what the signed manifest says');
  await stage.showManifest();
  tell.chapter('5', 'the disaster: every node is killed and its storage deleted');
  await stage.destroySource(source, took);
  tell.chapter('6', 'the way back, into one fresh node, which two others then join');
  const target = await stage.restore(took);
  tell.chapter('7', 'is everything there?');
  const compared = await stage.compare(target, seed, took);

  tell.chapter('', 'proven on this machine, just now');
  stage.tellProof({ backup, compared, took, totalMs: performance.now() - begin });
  if (!keep) {
    tell.line('');
    tell.line('next: npm run quickstart -- --keep    the same, and leaves it running to play with');
    tell.line('      npm run -s strongroom -- --help  every command');
    return;
  }
  await stage.tellAccess(target);
  tell.line(`running since ${formatDuration(performance.now() - begin)}; Ctrl-C ends it and removes everything`);
  while (!signal.aborted) await delay(KEEP_ALIVE_MS, undefined, { signal }).catch(() => undefined);
}
