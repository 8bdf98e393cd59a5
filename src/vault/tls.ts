/** How a node's identity is checked, and what a failed handshake means to the reader. */
import { connect, type PeerCertificate } from 'node:tls';
import { StrongroomError } from '../core/errors.ts';
import { type HandshakeFault, handshakeFault, namesInCertificate } from '../core/handshake.ts';
import type { Secret } from '../core/secret.ts';

export type TlsOptions = {
  /** PEM of the CA certificates that may sign a node's certificate; replaces the system's list */
  ca?: string;
  /** PEM of our client certificate, for listeners that want one and for the `cert` login */
  cert?: string;
  /** PEM of its private key */
  key?: Secret;
  /** the name to expect in the node's certificate, and to send as SNI, when it is not the host of the URL */
  serverName?: string;
  /** accepts ANY certificate: everyone on the path can read the token and change the snapshot. For throw-away labs only. */
  insecureSkipVerify?: boolean;
};

/** What undici hands to node:tls. */
export type TlsConnect = {
  ca?: string;
  cert?: string;
  key?: string;
  servername?: string;
  rejectUnauthorized: boolean;
};

export function tlsConnect(options: TlsOptions | undefined): TlsConnect {
  return {
    rejectUnauthorized: options?.insecureSkipVerify !== true,
    ...(options?.ca === undefined ? {} : { ca: options.ca }),
    ...(options?.cert === undefined ? {} : { cert: options.cert }),
    ...(options?.key === undefined ? {} : { key: options.key.reveal() }),
    ...(options?.serverName === undefined ? {} : { servername: options.serverName }),
  };
}

/** The handshake failure behind an error code of node:tls, or null when the code is none. `node` is the node's URL. */
export function tlsError(code: string, node: string, cause: unknown): StrongroomError | null {
  const fault = handshakeFault(code, cause instanceof Error ? cause.message : '');
  if (fault === null) return null;
  const names = fault === 'other-name' ? namesInCertificate(cause) : null;
  const [message, hint] = MEANINGS[fault];
  return new StrongroomError('E_VAULT_TLS', message(node), {
    hint: names === null ? hint : `${hint}: ${names}`,
    cause,
    details: { node, tls: code, ...(names === null ? {} : { names }) },
  });
}

const MEANINGS: Readonly<Record<HandshakeFault, readonly [message: (node: string) => string, hint: string]>> = {
  untrusted: [
    (node) => `the certificate of ${node} is not signed by a CA that is trusted here`,
    "the wrong CA: set the cluster's `tls.ca` to the PEM of the CA that signed the node's certificate",
  ],
  expired: [
    (node) => `the certificate of ${node} has expired`,
    "renew the node's certificate, then reload the node (SIGHUP)",
  ],
  'not-yet-valid': [
    (node) => `the certificate of ${node} is not valid yet`,
    'compare the clock of this machine with that of the node',
  ],
  'other-name': [
    (node) => `the certificate of ${node} is for another name`,
    'write the URL with a name that the certificate has, or set `tls.serverName` to one',
  ],
  'plain-text': [
    (node) => `${node} does not speak TLS`,
    'the listener is plain HTTP: write http:// (or give the listener TLS)',
  ],
  'old-protocol': [
    (node) => `${node} speaks no version of TLS that is safe`,
    'raise tls_min_version and tls_max_version of the listener to tls12 or tls13; look at proxies between as well',
  ],
  'client-certificate': [
    (node) => `${node} refused our side of the TLS handshake`,
    'the listener wants a client certificate that it trusts: set `tls.cert` and `tls.key`',
  ],
  other: [
    (node) => `the TLS handshake with ${node} fails`,
    'run: openssl s_client -connect <host:port> -servername <name>',
  ],
};

/**
 * When the certificate that a node shows ends, or null when that is not found out within `timeoutMs`.
 * Called only after the real handshake was refused, to tell the reader the date. Verification is off here because
 * the certificate is known to be bad; nothing is sent, no client certificate is offered, and the socket is destroyed.
 */
export function certificateEnd(url: URL, serverName: string | undefined, timeoutMs: number): Promise<Date | null> {
  return new Promise((resolve) => {
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const port = url.port === '' ? 443 : Number(url.port);
    const named = serverName ?? host;
    const socket = connect({
      host,
      port,
      rejectUnauthorized: false,
      ...(/^[\d.]+$|:/.test(named) ? {} : { servername: named }),
    });
    const done = (date: Date | null): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(date);
    };
    const timer = setTimeout(() => done(null), timeoutMs);
    socket.once('error', () => done(null));
    socket.once('secureConnect', () => {
      const certificate: Partial<PeerCertificate> = socket.getPeerCertificate();
      const end = new Date(certificate.valid_to ?? '');
      done(Number.isNaN(end.getTime()) ? null : end);
    });
  });
}
