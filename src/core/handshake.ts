/** Why a TLS handshake failed, as node:tls tells it: by a code, or by a sentence of OpenSSL behind a code that says little. */

/**
 * `untrusted` = by its authority; `plain-text` = the peer answers a ClientHello in plain text; `old-protocol` = no version
 * in common; `client-certificate` = the peer refuses our side.
 */
export type HandshakeFault =
  | 'untrusted'
  | 'expired'
  | 'not-yet-valid'
  | 'other-name'
  | 'plain-text'
  | 'old-protocol'
  | 'client-certificate'
  | 'other';

const BY_CODE: Readonly<Record<string, HandshakeFault>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'untrusted',
  UNABLE_TO_GET_ISSUER_CERT: 'untrusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'untrusted',
  SELF_SIGNED_CERT_IN_CHAIN: 'untrusted',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'untrusted',
  CERT_UNTRUSTED: 'untrusted',
  CERT_SIGNATURE_FAILURE: 'untrusted',
  INVALID_CA: 'untrusted',
  CERT_HAS_EXPIRED: 'expired',
  CERT_NOT_YET_VALID: 'not-yet-valid',
  ERR_TLS_CERT_ALTNAME_INVALID: 'other-name',
  HOSTNAME_MISMATCH: 'other-name',
};

// "HTTP/1.1 400" in place of a ServerHello is a record of a wrong version to OpenSSL. The same reason comes as the code
// (ERR_SSL_WRONG_VERSION_NUMBER) when a read meets it, and as EPROTO with a sentence when a write does.
const BY_REASON: readonly [RegExp, HandshakeFault][] = [
  [/wrong.version.number|packet.length.too.long|bad.record.type|record.layer.failure/i, 'plain-text'],
  [/alert.protocol.version|unsupported.protocol/i, 'old-protocol'],
  [/alert.(certificate.required|bad.certificate|unknown.ca|handshake.failure)/i, 'client-certificate'],
];

/** null when `code` is none of a TLS handshake. */
export function handshakeFault(code: string, message: string): HandshakeFault | null {
  const known = BY_CODE[code];
  if (known !== undefined) return known;
  if (!/^(ERR_TLS_|ERR_SSL_|EPROTO$|CERT_|UNABLE_TO_|SELF_SIGNED)/.test(code)) return null;
  const said = code === 'EPROTO' ? message : code;
  return BY_REASON.find(([reason]) => reason.test(said))?.[1] ?? 'other';
}

/** What went wrong with the peer of a client that checks certificates, and what to do; `owner` is what has the `ca` option. */
export function explainHandshake(fault: HandshakeFault, owner: string): { says: string; hint: string } {
  const [says, hint] = WORDS[fault];
  return { says, hint: hint.replace('$owner', owner) };
}

const WORDS: Readonly<Record<HandshakeFault, readonly [says: string, hint: string]>> = {
  untrusted: [
    'its certificate is not signed by a CA that is trusted here',
    "set the $owner's `ca` to the PEM of the CA that signed it",
  ],
  expired: ['its certificate has expired', 'renew it at the endpoint; compare the clocks if it is new'],
  'not-yet-valid': ['its certificate is not valid yet', 'compare the clock of this machine with that of the endpoint'],
  'other-name': ['its certificate is for another name', 'write the `endpoint` with a name that the certificate has'],
  'plain-text': ['it does not speak TLS', 'write the `endpoint` with http://, or give the service TLS'],
  'old-protocol': [
    'it speaks no version of TLS that is safe',
    'let the service, or the proxy before it, speak TLS 1.2',
  ],
  'client-certificate': ['it refuses our side', 'it may want a client certificate, and there is none to configure'],
  other: ['no agreement', 'run: openssl s_client -connect <host:port> -servername <name>'],
};

/** The names in the certificate that did not fit, such as `DNS:a, IP Address:10.0.0.7`; null when `e` does not tell. */
export function namesInCertificate(e: unknown): string | null {
  if (!(e instanceof Error) || !('cert' in e)) return null;
  const cert = e.cert;
  if (typeof cert !== 'object' || cert === null || !('subjectaltname' in cert)) return null;
  return typeof cert.subjectaltname === 'string' ? cert.subjectaltname.slice(0, 500) : null;
}
