/** A second try at wraps that failed, while the identity is still at hand. */
import { isError } from '../core/errors.ts';
import type { Secret } from '../core/secret.ts';
import type { KmsKey, WrapContext } from './kms.ts';
import type { MissingWrap, Sidecar, Wrap } from './sidecar.ts';

/**
 * Wraps `identity` under those of `kms` that `sidecar` records as missing. What fails again stays missing. A sidecar to
 * which nothing could be added comes back as it is; otherwise the revision is one higher.
 */
export async function completeWraps(
  sidecar: Sidecar,
  identity: Secret<string>,
  kms: readonly KmsKey[],
  now: Date,
  signal: AbortSignal,
): Promise<Sidecar> {
  const context: WrapContext = { cluster: sidecar.cluster, snapshot: sidecar.snapshot };
  const added: Wrap[] = [];
  const missing: MissingWrap[] = [];
  for (const absent of sidecar.missing) {
    const key = kms.find(({ keyId }) => absent.type === 'aws-kms' && keyId === absent.keyId);
    try {
      if (key === undefined) missing.push(absent);
      else added.push(await key.wrap(identity, context, signal));
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      missing.push(absent);
    }
  }
  if (added.length === 0) return sidecar;
  const wraps = [...added, ...sidecar.wraps];
  return { ...sidecar, wraps, missing, revision: sidecar.revision + 1, rewrappedAt: now.toISOString() };
}
