/** The configuration file of one OpenBao server of the harness. JSON: the server reads it as well as HCL. */
import { type Seal, sealStanza } from './bao-seals.ts';

export type NodeConfig = {
  id: string;
  dataDir: string;
  apiPort: number;
  clusterPort: number;
  seal: Seal;
  /** raft's time-outs, in seconds: a leader gives up after half of it without its followers; 1 unless told otherwise */
  patience?: number;
  /** certificate chain and key of the listener; without it the listener speaks plain HTTP */
  tls?: { certFile: string; keyFile: string } | undefined;
  /** added to the listener, such as `{ http_read_timeout: '30m' }` */
  listener?: Readonly<Record<string, unknown>>;
  /** added to the raft storage, such as `{ retry_join: [...] }` */
  storage?: Readonly<Record<string, unknown>>;
  /** added at top level, such as `{ raw_storage_endpoint: true }` */
  top?: Readonly<Record<string, unknown>>;
};

export function apiUrl(config: Pick<NodeConfig, 'apiPort' | 'tls'>): string {
  return `${config.tls === undefined ? 'http' : 'https'}://127.0.0.1:${config.apiPort}`;
}

/**
 * The text of the file. Raft and autopilot run fast: an election after `patience` seconds instead of 5, new nodes looked
 * at four times a second instead of every 10 s, so that three voters are there in seconds.
 */
export function renderConfig(config: NodeConfig): string {
  const seal = sealStanza(config.seal);
  const tls = config.tls;
  return JSON.stringify(
    {
      api_addr: apiUrl(config),
      cluster_addr: `https://127.0.0.1:${config.clusterPort}`,
      storage: {
        raft: {
          path: config.dataDir,
          node_id: config.id,
          performance_multiplier: String(config.patience ?? 1),
          autopilot_reconcile_interval: '250ms',
          autopilot_update_interval: '250ms',
          ...config.storage,
        },
      },
      listener: {
        tcp: {
          address: `127.0.0.1:${config.apiPort}`,
          cluster_address: `127.0.0.1:${config.clusterPort}`,
          ...(tls === undefined ? { tls_disable: 'true' } : { tls_cert_file: tls.certFile, tls_key_file: tls.keyFile }),
          ...config.listener,
        },
      },
      ...(seal === undefined ? {} : { seal }),
      ...config.top,
    },
    null,
    2,
  );
}
