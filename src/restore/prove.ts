/** Proof that the cluster holds what the snapshot says: a fresh snapshot of it, compared record by record. */
import { join } from 'node:path';
import { diffArchives } from '../archive/diff.ts';
import type { Difference } from '../archive/merge-join.ts';
import { StrongroomError } from '../core/errors.ts';
import { flow } from '../core/flow.ts';
import { newRunId } from '../core/ids.ts';
import { decrypt, newContainer } from '../crypt/container.ts';
import { checkRoom, SpoolFile } from '../spool/spool.ts';
import type { ActiveNode } from '../vault/active-node.ts';
import { takeSnapshot } from '../vault/snapshot.ts';
import type { RestoreDeps } from './options.ts';
import type { RestoreSource } from './source.ts';

export type RestoreProof = {
  node: string;
  /** records that are byte for byte those of the snapshot */
  identical: number;
  /** keys (the first 10,000) that differ because a restore itself, a login or a lease that ended writes them */
  explained: string[];
  explainedCount: number;
  /** keys (the first 10,000) that differ for no known reason */
  unexpected: string[];
  unexpectedCount: number;
};

/** The longest that the fresh snapshot may take, in milliseconds. */
const SNAPSHOT_DEADLINE_MS = 3_600_000;
const SHOWN = 10;

/**
 * What a serving cluster writes by itself from its first second: tokens and leases come and go, counters move, and our
 * own login is one of them. Everything else must be byte for byte what the snapshot holds.
 */
const LIVE = [
  /^(?:namespaces\/[^/]+\/)?sys\/token\//,
  /^(?:namespaces\/[^/]+\/)?sys\/expire\//,
  /^sys\/counters\//,
  /^raftchunking\//,
];
/** The first login of somebody, as ours may be, makes an entity: one of the 256 buckets of the identity store is written. */
const ENTITIES = /^(?:namespaces\/[^/]+\/)?logical\/[^/]+\/packer\/(?:local-aliases\/)?buckets\/\d{1,3}$/;

/** Compares once. Never rejects for a difference: `unexpectedCount` tells. */
export async function compareRestored(
  deps: RestoreDeps,
  node: ActiveNode,
  source: RestoreSource,
  signal: AbortSignal,
): Promise<RestoreProof> {
  deps.onProgress({ stage: 'prove', message: `comparing ${node.url} with the snapshot, record by record` });
  // A comparison is slower than a download, and a snapshot that is drained slowly can hang the node: so it is spooled
  // first, encrypted for nobody but this call.
  await checkRoom(deps.spool, source.bytes);
  const container = await newContainer([]);
  await using spool = await SpoolFile.create(deps.spool, join(deps.into, `proof-${newRunId(deps.clock.now())}.spool`));
  const taken = takeSnapshot(node, { signal, deadlineMs: SNAPSHOT_DEADLINE_MS });
  await flow(taken, [container.encrypt], spool.write, signal);
  const fresh = decrypt([container.identity], { headerSha256: container.headerSha256 })(spool.read(0, spool.bytes));
  const { product, seal } = source.report;
  const isExpected = ({ kind, key }: Difference): boolean =>
    LIVE.some((pattern) => pattern.test(key)) || (kind !== 'removed' && ENTITIES.test(key));
  const diff = await diffArchives(source.plain(signal), fresh, { product, sealType: seal.type, isExpected, signal });
  return {
    node: node.url,
    identical: diff.identical,
    explained: diff.allowed.map(({ kind, key }) => `${kind} ${key}`),
    explainedCount: diff.allowedCount,
    unexpected: diff.unexpected.map(({ kind, key }) => `${kind} ${key}`),
    unexpectedCount: diff.unexpectedCount,
  };
}

/** The error that an unproven restore means. */
export function unproven(proof: RestoreProof): StrongroomError {
  const shown = proof.unexpected.slice(0, SHOWN).join(', ');
  const more = proof.unexpectedCount > SHOWN ? ` and ${proof.unexpectedCount - SHOWN} more` : '';
  return new StrongroomError(
    'E_PROOF_FAILED',
    `the snapshot was handed over, but ${proof.unexpectedCount} records of ${proof.node} are not what it holds: ${shown}${more}`,
    {
      hint: 'if clients are already writing, these may be their writes; if not, it was not applied, as when the node lost its leadership or died meanwhile: run the same command again',
      details: { identical: proof.identical, unexpected: proof.unexpectedCount },
    },
  );
}
