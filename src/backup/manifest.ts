/** What a finished upload says of itself: the manifest, before it is signed. */
import { archiveRecord } from '../catalogue/archive-record.ts';
import type { CopyRecord, Manifest } from '../catalogue/manifest.ts';
import { type RunId, type SnapshotId, snapshotTime } from '../core/ids.ts';
import type { Sidecar } from '../crypt/sidecar.ts';
import type { SpooledBody } from '../spool/spool.ts';
import { objectKey } from '../store/layout.ts';
import type { BackupDeps, BackupOptions } from './options.ts';
import type { Preflight } from './preflight.ts';
import type { Taken } from './take.ts';

/** Pure but for the clock: every fact comes from the run that is ending. */
export function buildManifest(
  deps: BackupDeps,
  { purpose }: Pick<BackupOptions, 'purpose'>,
  run: {
    run: RunId;
    snapshot: SnapshotId;
    taken: Taken;
    body: SpooledBody;
    composite: string;
    records: CopyRecord[];
    before: Preflight;
    warnings: string[];
    sidecar: Sidecar;
  },
): Manifest {
  const { taken, body, before, sidecar } = run;
  return {
    schema: '1',
    cluster: deps.cluster,
    snapshot: run.snapshot,
    run: run.run,
    purpose,
    createdAt: snapshotTime(run.snapshot).toISOString(),
    finishedAt: deps.clock.now().toISOString(),
    tool: { name: 'strongroom', version: deps.toolVersion },
    source: {
      node: taken.node.url,
      clusterId: taken.node.view.clusterId,
      product: taken.node.view.product,
      productVersion: taken.node.view.version,
    },
    archive: archiveRecord(taken.report),
    ciphertext: {
      format: 'age-v1',
      bytes: body.bytes,
      headerSha256: taken.container.headerSha256,
      partSize: body.partBytes,
      parts: body.partSha256.length,
      partSha256: body.partSha256.map((hash) => Buffer.from(hash).toString('base64')),
      sha256Composite: run.composite,
    },
    keys: {
      recipient: taken.container.recipient,
      object: objectKey(deps.cluster, 'keys', run.snapshot),
      recipients: [...deps.breakGlass],
      kms: sidecar.wraps.flatMap((wrap) => (wrap.type === 'aws-kms' ? [wrap.keyId] : [])),
    },
    destinations: run.records,
    previous:
      before.previous === null
        ? null
        : {
            snapshot: before.previous.manifest.snapshot,
            manifestSha256: before.previous.sha256,
            index: before.previous.manifest.archive.raft.index,
          },
    warnings: run.warnings,
    signer: { keyId: deps.signer.keyId, alg: deps.signer.alg },
  };
}
