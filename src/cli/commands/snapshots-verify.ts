import type { SnapshotId } from '../../core/ids.ts';
import type { Run } from '../define.ts';
import type { SnapshotsVerifyFlags } from '../definitions/snapshots.ts';
import { chooseDestination, openSnapshots, readManifest } from '../snapshots.ts';

const LEVELS = {
  archive: 'whole: decrypted, and every hash and record checked',
  ciphertext: 'every byte is the signed one; not decrypted, for no key is at hand',
  failed: 'FAILED',
} as const;

export const run: Run<SnapshotsVerifyFlags, [snapshot: string]> = async function (flags, id) {
  const { verifySnapshot } = await import('../../snapshots/verify.ts');
  await using snapshots = await openSnapshots(this, flags);
  const { deps } = snapshots;
  const only = chooseDestination(deps, flags.destination);
  const { manifest } = await readManifest(deps, id, this.signal);
  const { copies } = await verifySnapshot(deps, manifest, this.signal, only === undefined ? {} : { only });
  snapshots.endProgress();
  const document = {
    cluster: deps.cluster,
    snapshot: manifest.snapshot as SnapshotId,
    copies: copies.map(({ error, ...copy }) => ({ ...copy, error: error?.toJSON() ?? null })),
  };
  this.output.result(document, () =>
    copies
      .map(({ destination, level, openedWith, error }) => {
        const how = openedWith === null ? '' : `, opened with ${openedWith}`;
        return `${destination}: ${LEVELS[level]}${how}${error === null ? '' : `: ${error.message}`}`;
      })
      .join('\n'),
  );
  const failed = copies.find(({ error }) => error !== null);
  if (failed?.error) throw failed.error;
};
