/** What a restore itself changes in the storage of a cluster. Everything else must come back byte for byte. */
import type { Change, Difference } from './merge-join.ts';
import type { ArchiveReport } from './report.ts';

type Rule = {
  key: RegExp;
  kinds: readonly Change[];
  product?: 'openbao' | 'vault';
  /** only under an auto seal */
  autoSeal?: true;
};

const ANY: readonly Change[] = ['changed', 'added', 'removed'];

const RULES: readonly Rule[] = [
  // Leadership: whoever is active writes its id and address, and clears those of the one before it.
  { key: /^core\/lock$/, kinds: ANY },
  { key: /^core\/leader\/[^/]+$/, kinds: ANY },
  // The audit tables are written anew when they are missing (a sanitised archive), and when the devices of the server's
  // own configuration file are compared with them.
  { key: /^core\/(local-)?audit$/, kinds: ['changed', 'added'] },
  // A newer server adds its version to the history; nothing takes one away.
  { key: /^core\/versions\/[^/]+$/, kinds: ['added'] },
  // Left by a rotation for standbys to follow; the active node removes it after some minutes.
  { key: /^core\/upgrade\/\d+$/, kinds: ['removed'] },
  // OpenBao writes the keyring again at the unseal, under a fresh nonce, and the root key with it. Vault does not.
  { key: /^core\/(keyring|root-key|master)$/, kinds: ['changed'], product: 'openbao' },
  // Vault's active node writes both when it starts.
  { key: /^core\/cluster\/feature-flags$/, kinds: ['changed', 'added'], product: 'vault' },
  { key: /^core\/raft\/autopilot\/state$/, kinds: ['changed', 'added'], product: 'vault' },
  // A cluster whose seal has another key than the source's, and can decrypt with the source's, wraps again with its own.
  { key: /^core\/hsm\/barrier-unseal-keys$/, kinds: ['changed'], autoSeal: true },
  { key: /^core\/recovery-key$/, kinds: ['changed'], autoSeal: true },
];

/** Whether a difference between the snapshot and the restored cluster is the restore's own doing. */
export function isRestoreChange(
  difference: Difference,
  cluster: { product: ArchiveReport['product']; sealType: string },
): boolean {
  return RULES.some(
    (rule) =>
      rule.key.test(difference.key) &&
      rule.kinds.includes(difference.kind) &&
      (rule.product === undefined || rule.product === cluster.product) &&
      (rule.autoSeal === undefined || cluster.sealType !== 'shamir'),
  );
}
