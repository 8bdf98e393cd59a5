/** Signed envelopes: what a trusted key signed as this kind of record comes out, and nothing else. */
import { verify } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { openEnvelope, signEnvelope } from '../../../src/crypt/dsse.ts';
import { generateSigningKey } from '../../../src/crypt/generate.ts';
import { localSigner } from '../../../src/crypt/sign.ts';

const never = new AbortController().signal;
const TYPE = 'application/vnd.example+json';
const signer = localSigner(generateSigningKey().privateKeyPem);
const trusted = [await signer.publicKeyPem(never)];
const other = [await localSigner(generateSigningKey().privateKeyPem).publicKeyPem(never)];

type Envelope = { payloadType: string; payload: string; signatures: { keyid: string; sig: string }[] };

async function envelope(change: (envelope: Envelope) => void = () => undefined): Promise<Uint8Array> {
  const bytes = await signEnvelope(TYPE, { snapshot: 'one' }, signer, never);
  const parsed = JSON.parse(Buffer.from(bytes).toString('utf8')) as Envelope;
  change(parsed);
  return Buffer.from(JSON.stringify(parsed));
}

describe('an envelope', () => {
  it('gives back what was signed', async () => {
    expect(openEnvelope(await envelope(), TYPE, trusted)).toEqual({ snapshot: 'one' });
    expect(openEnvelope(await envelope(), TYPE, [...other, ...trusted])).toEqual({ snapshot: 'one' });
  });

  it('is signed as the DSSE protocol says, so other tools can check it', async () => {
    const { payload, signatures } = JSON.parse(Buffer.from(await envelope()).toString('utf8')) as Envelope;
    const body = Buffer.from(payload, 'base64');
    const signed = Buffer.concat([Buffer.from(`DSSEv1 28 ${TYPE} ${body.length} `), body]);
    const sig = Buffer.from(signatures[0]?.sig ?? '', 'base64');
    expect(TYPE).toHaveLength(28);
    expect(verify('sha256', signed, trusted[0] ?? '', sig)).toBe(true);
  });

  it.each([
    ['another payload', (e: Envelope) => (e.payload = Buffer.from('{"snapshot":"two"}').toString('base64'))],
    ['a foreign signature', (e: Envelope) => (e.signatures = [{ keyid: 'x', sig: 'MEUCIQDx' }])],
  ])('with %s is refused', async (_what, change) => {
    const bytes = await envelope(change);
    expect(() => openEnvelope(bytes, TYPE, trusted)).toThrow(expect.objectContaining({ code: 'E_SIGNATURE' }));
  });

  it('of a key that is not trusted is refused', async () => {
    const bytes = await envelope();
    expect(() => openEnvelope(bytes, TYPE, other)).toThrow(expect.objectContaining({ code: 'E_SIGNATURE' }));
  });

  it('of one kind is no envelope of another, whoever relabels it', async () => {
    const bytes = await envelope();
    const relabelled = await envelope((e) => (e.payloadType = 'application/vnd.other+json'));
    expect(() => openEnvelope(bytes, 'application/vnd.other+json', trusted)).toThrow(
      expect.objectContaining({ code: 'E_MANIFEST' }),
    );
    expect(() => openEnvelope(relabelled, 'application/vnd.other+json', trusted)).toThrow(
      expect.objectContaining({ code: 'E_SIGNATURE' }),
    );
  });

  it.each(['', 'x', '{}', '[]', '{"payloadType":"a","payload":"b","signatures":[]}'])('is not %j', (text) => {
    expect(() => openEnvelope(Buffer.from(text), TYPE, trusted)).toThrow(
      expect.objectContaining({ code: 'E_MANIFEST' }),
    );
  });
});
