/** A manifest in lines for people. */
import type { Manifest } from '../catalogue/manifest.ts';
import { formatBytes } from '../core/units.ts';

/** How many mounts are shown; the JSON has them all. */
const SHOWN_MOUNTS = 15;

export function describeManifest(manifest: Manifest): string[] {
  const { archive, ciphertext, source } = manifest;
  const { state, seal, raft } = archive;
  const recovery = seal.recovery === null ? '' : `, recovery ${seal.recovery.threshold} of ${seal.recovery.shares}`;
  const mounts = state.mounts.toSorted((a, b) => b.bytes - a.bytes);
  return [
    `snapshot    ${manifest.snapshot} of ${manifest.cluster}, taken ${manifest.createdAt}`,
    `signed by   ${manifest.signer.keyId}`,
    `source      ${source.node}, cluster id ${source.clusterId ?? 'unknown'}`,
    `product     ${archive.product} ${archive.productVersion ?? '(version unknown)'}`,
    `raft        index ${raft.index}, term ${raft.term}`,
    ...raft.servers.map(({ id, address, suffrage }) => `  member    ${id} at ${address} (${suffrage})`),
    `seal        ${seal.type}, ${seal.threshold} of ${seal.shares}${recovery}`,
    ...seal.keyIds.map((id) => `  seal key  ${id}`),
    `state       ${state.records} records, ${formatBytes(state.bytes)}; ${state.policies} policies, ${state.tokens} tokens, ${state.namespaces} namespaces`,
    `leases      ${state.leaseCount}${state.leases.length === 0 ? '' : `: ${state.leases.map((l) => `${l.mount} ${l.count}`).join(', ')}`}`,
    ...state.areas.map(({ area, records, bytes }) => `  ${area.padEnd(24)} ${records} records, ${formatBytes(bytes)}`),
    ...mounts.slice(0, SHOWN_MOUNTS).map((m) => `  ${m.area}  ${m.records} records, ${formatBytes(m.bytes)}`),
    ...(mounts.length > SHOWN_MOUNTS ? [`  and ${mounts.length - SHOWN_MOUNTS} more mounts`] : []),
    `stored as   ${formatBytes(ciphertext.bytes)} of ${ciphertext.format}, ${ciphertext.parts} part(s)`,
    ...manifest.destinations.map((copy) =>
      copy.status === 'stored'
        ? `  copy      ${copy.name}: ${copy.location}, proven by ${copy.proof}`
        : `  MISSING   ${copy.name}: ${copy.location}: ${copy.message}`,
    ),
    `opens with  ${[...manifest.keys.kms, ...manifest.keys.recipients].join(', ')}`,
    ...archive.cautions.map((caution) => `caution     ${caution}`),
    ...manifest.warnings.map((warning) => `warning     ${warning}`),
  ];
}
