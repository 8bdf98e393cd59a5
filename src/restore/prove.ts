/** Proof that the cluster holds what the snapshot says: a fresh snapshot of it, compared record by record. */
import { type ArchiveDiff, diffArchives } from '../archive/diff.ts';
import { StrongroomError } from '../core/errors.ts';
import type { ActiveNode } from '../vault/active-node.ts';
import { takeSnapshot } from '../vault/snapshot.ts';
import type { RestoreDeps } from './options.ts';
import type { RestoreSource } from './source.ts';

export type RestoreProof = {
  node: string;
  /** records that are byte for byte those of the snapshot */
  identical: number;
  /** keys that differ because a restore itself, a login or a lease that ended writes them */
  explained: string[];
  /** keys that differ for no known reason */
  unexpected: string[];
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
  /^core\/(?:leader\/|lock$)/,
  /^raftchunking\//,
];

/** Compares once. Never rejects for a difference: `unexpected` tells. */
export async function compareRestored(
  deps: RestoreDeps,
  node: ActiveNode,
  source: RestoreSource,
  signal: AbortSignal,
): Promise<RestoreProof> {
  deps.onProgress({ stage: 'prove', message: `comparing ${node.url} with the snapshot, record by record` });
  const diff = await diffArchives(
    source.plain(signal),
    takeSnapshot(node, { signal, deadlineMs: SNAPSHOT_DEADLINE_MS }),
    { product: source.report.product, sealType: source.report.seal.type, signal },
  );
  return judge(node, diff);
}

function judge(node: ActiveNode, diff: ArchiveDiff): RestoreProof {
  const live = diff.unexpected.filter((difference) => LIVE.some((pattern) => pattern.test(difference.key)));
  const rest = diff.unexpected.filter((difference) => !live.includes(difference));
  return {
    node: node.url,
    identical: diff.identical,
    explained: [...diff.allowed, ...live].map(({ kind, key }) => `${kind} ${key}`),
    unexpected: rest.map(({ kind, key }) => `${kind} ${key}`),
  };
}

/** The error that an unproven restore means. */
export function unproven(proof: RestoreProof): StrongroomError {
  const shown = proof.unexpected.slice(0, SHOWN).join(', ');
  const more = proof.unexpected.length > SHOWN ? ` and ${proof.unexpected.length - SHOWN} more` : '';
  return new StrongroomError(
    'E_PROOF_FAILED',
    `the snapshot was installed, but ${proof.unexpected.length} records of ${proof.node} are not what it holds: ${shown}${more}`,
    {
      hint: 'if clients are already writing, these may be their writes; if not, the restore did not happen as it should',
      details: { identical: proof.identical, unexpected: proof.unexpected.length },
    },
  );
}
