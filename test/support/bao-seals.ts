/** What seals an OpenBao server of the harness: the stanza it needs, and what must stand in its environment. */

/** How many shares there are and how many open: of the unseal key (Shamir) or of the recovery key (all others). */
type Shares = { shares?: number; threshold?: number };

export type Seal = Shares &
  (
    | { type: 'shamir' }
    /** in the binary up to 2.6; 2.7 knows it only through a plugin */
    | {
        type: 'awskms';
        /** URL of the KMS, or of a proxy in front of it */
        endpoint: string;
        /** id or ARN */
        keyId: string;
        region: string;
        /** default `seal`; whose rights the KMS sees */
        accessKeyId?: string;
        /** for a migration away from it */
        disabled?: boolean;
      }
    /** a 32-byte key in the configuration: auto-unseal without any provider */
    | { type: 'static'; keyId: string; keyHex: string }
    | { type: 'transit'; address: string; token: string; keyName: string; mountPath: string; disabled?: boolean }
  );

/** Shares and threshold, with the default of 3 and 2. */
export function sealShares(seal: Seal): { shares: number; threshold: number } {
  return { shares: seal.shares ?? 3, threshold: seal.threshold ?? 2 };
}

/** The `seal` block of the configuration; undefined for Shamir, which has none. */
export function sealStanza(seal: Seal): Record<string, Record<string, unknown>> | undefined {
  switch (seal.type) {
    case 'shamir':
      return undefined;
    case 'awskms':
      return {
        awskms: { endpoint: seal.endpoint, kms_key_id: seal.keyId, region: seal.region, ...disabled(seal.disabled) },
      };
    case 'static':
      return { static: { current_key_id: seal.keyId, current_key: seal.keyHex } };
    case 'transit':
      return {
        transit: {
          address: seal.address,
          key_name: seal.keyName,
          mount_path: seal.mountPath,
          disable_renewal: 'true',
          ...disabled(seal.disabled),
        },
      };
  }
}

/** Credentials go through the environment, as in production: the configuration file is not secret. */
export function sealEnvironment(seal: Seal): Record<string, string> {
  if (seal.type === 'awskms') {
    return { AWS_ACCESS_KEY_ID: seal.accessKeyId ?? 'seal', AWS_SECRET_ACCESS_KEY: 'not-checked' };
  }
  return seal.type === 'transit' ? { VAULT_TOKEN: seal.token } : {};
}

function disabled(flag: boolean | undefined): Record<string, string> {
  return flag === true ? { disabled: 'true' } : {};
}
