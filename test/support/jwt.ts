/** Signed tokens of an identity provider that is nobody else's: a key pair made on the spot. */
import { generateKeyPairSync, sign } from 'node:crypto';

export type JwtIssuer = { publicPem: string; issue(claims: Readonly<Record<string, unknown>>): string };

export function createJwtIssuer(): JwtIssuer {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    issue: (claims) => {
      const now = Math.floor(Date.now() / 1000);
      const content = [
        { alg: 'ES256', typ: 'JWT' },
        { iat: now, nbf: now - 60, exp: now + 600, ...claims },
      ]
        .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
        .join('.');
      const signature = sign('sha256', Buffer.from(content), { key: privateKey, dsaEncoding: 'ieee-p1363' });
      return `${content}.${signature.toString('base64url')}`;
    },
  };
}
