/**
 * One signed document in one object: a DSSE envelope (github.com/secure-systems-lab/dsse, protocol.md). The signature is
 * over the type as well, so a record of one kind is never taken for one of another.
 */
import { z } from 'zod';
import { StrongroomError } from '../core/errors.ts';
import { type Signer, verifySignature } from './sign.ts';

const envelopeSchema = z.object({
  payloadType: z.string(),
  payload: z.base64(),
  signatures: z.array(z.object({ keyid: z.string().optional(), sig: z.base64() })).min(1),
});

/** `document` as JSON, signed. Rejects as the signer does. */
export async function signEnvelope(
  payloadType: string,
  document: unknown,
  signer: Signer,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const payload = Buffer.from(JSON.stringify(document), 'utf8');
  const sig = await signer.sign(preAuthEncoding(payloadType, payload), signal);
  const envelope = {
    payloadType,
    payload: payload.toString('base64'),
    signatures: [{ keyid: signer.keyId, sig: Buffer.from(sig).toString('base64') }],
  };
  return Buffer.from(`${JSON.stringify(envelope)}\n`, 'utf8');
}

/**
 * What a trusted key signed as `payloadType`, parsed as JSON and not yet checked for its form. Throws E_MANIFEST for what
 * is no envelope of that type, E_SIGNATURE when none of `trusted` signed it.
 */
export function openEnvelope(bytes: Uint8Array, payloadType: string, trusted: readonly string[]): unknown {
  const envelope = envelopeSchema.safeParse(parseJson(bytes, 'the envelope')).data;
  if (envelope === undefined) throw new StrongroomError('E_MANIFEST', 'a record is not a signed envelope');
  if (envelope.payloadType !== payloadType) {
    throw new StrongroomError('E_MANIFEST', `a record is of another type than ${payloadType}`);
  }
  const payload = Buffer.from(envelope.payload, 'base64');
  const signed = preAuthEncoding(payloadType, payload);
  let refusal: unknown;
  for (const { sig } of envelope.signatures) {
    try {
      verifySignature(signed, Buffer.from(sig, 'base64'), trusted);
      return parseJson(payload, 'its payload');
    } catch (e) {
      refusal ??= e;
    }
  }
  throw refusal;
}

function parseJson(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (e) {
    throw new StrongroomError('E_MANIFEST', `a record cannot be read: ${what} is not JSON`, { cause: e });
  }
}

/** PAE of the DSSE protocol: lengths make it unambiguous where the type ends and the body begins. */
function preAuthEncoding(type: string, body: Uint8Array): Uint8Array {
  const head = `DSSEv1 ${Buffer.byteLength(type)} ${type} ${body.byteLength} `;
  return Buffer.concat([Buffer.from(head, 'utf8'), body]);
}
