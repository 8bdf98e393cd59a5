/** What the commands about stored snapshots have in common. */
import type { SnapshotDeps } from '../app.ts';
import type { VerifiedManifest } from '../catalogue/catalogue.ts';
import { chooseCluster } from '../config/cluster-config.ts';
import { StrongroomError } from '../core/errors.ts';
import { parseSnapshotId } from '../core/ids.ts';
import type { Context } from './context.ts';

/** Catalogue, stores and keys of the chosen cluster; disposing closes what it opened and ends the progress line. */
export async function openSnapshots(
  context: Context,
  flags: { config?: string; cluster?: string },
): Promise<AsyncDisposable & { deps: SnapshotDeps; endProgress(): void }> {
  const config = await context.config(flags.config);
  const { name } = chooseCluster(config, flags.cluster);
  const { App } = await import('../app.ts');
  const progress = context.progress();
  const app = new App(config, { onProgress: progress.onProgress });
  return {
    deps: await app.snapshotDeps(name, context.signal),
    endProgress: () => progress[Symbol.dispose](),
    async [Symbol.asyncDispose]() {
      progress[Symbol.dispose]();
      await app[Symbol.asyncDispose]();
    },
  };
}

/**
 * The checked manifest of `id`, or of the newest snapshot for `latest`, which is refused when a newer one is not acceptable.
 * `unasked` are the destinations that might have known a newer one and did not answer.
 */
export async function readManifest(
  { catalogue }: Pick<SnapshotDeps, 'catalogue'>,
  id: string,
  signal: AbortSignal,
): Promise<VerifiedManifest & { unasked: StrongroomError[] }> {
  if (id === 'latest') {
    const { newest, skipped, failures } = await catalogue.latest(signal);
    if (skipped[0] !== undefined) throw skipped[0];
    if (newest !== null) return { ...newest, unasked: failures };
    throw new StrongroomError('E_NOT_FOUND', `there is no snapshot of ${catalogue.cluster} yet`, {
      hint: `strongroom backup --cluster ${catalogue.cluster}`,
    });
  }
  const snapshot = parseSnapshotId(id);
  if (snapshot !== null) return { ...(await catalogue.read(snapshot, signal)), unasked: [] };
  throw new StrongroomError('E_NOT_FOUND', `"${id}" is no snapshot id`, {
    hint: `strongroom snapshots list --cluster ${catalogue.cluster}`,
  });
}
