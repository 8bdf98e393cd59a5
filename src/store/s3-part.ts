/** One part of an upload: read again for every try, streamed, and held against its SHA-256 by the store. */
import { Readable } from 'node:stream';
import { UploadPartCommand } from '@aws-sdk/client-s3';
import { isError, StrongroomError } from '../core/errors.ts';
import { retry } from '../core/retry.ts';
import type { Part } from './parts.ts';
import { at, type S3Context, sendOnce } from './s3-context.ts';
import { type Checksums, checksumsOf } from './s3-headers.ts';
import { BEFORE_SIGNING, signedPayload } from './s3-payload-hash.ts';
import { phrase, type Where } from './s3-where.ts';
import type { PartedBody } from './store.ts';

export type SentPart = { PartNumber: number; ETag: string } & Omit<Checksums, 'ContentMD5' | 'ChecksumAlgorithm'>;

export type PartTarget = {
  where: Where;
  key: string;
  uploadId: string;
  isLocked: boolean;
};

/**
 * Sends one part, again when that may help. What the body throws is not the store's failure: it passes as it is, and
 * is not tried again. Holds no more of the part than the stream buffers.
 */
export async function sendPart(
  ctx: S3Context,
  to: PartTarget,
  body: PartedBody,
  part: Part,
  signal: AbortSignal,
): Promise<SentPart> {
  const sums = await checksumsOf(ctx, to.isLocked, part.sha256, () => body.read(part.start, part.end));
  const source = new BodyReader(body, part);
  const options = { retryable: (e: unknown) => source.failure === undefined && isError(e) && e.retryable };
  return retry(ctx.retry, () => tryPart(ctx, to, source, sums, signal), signal, options);
}

async function tryPart(
  ctx: S3Context,
  to: PartTarget,
  source: BodyReader,
  sums: Checksums,
  signal: AbortSignal,
): Promise<SentPart> {
  const { part } = source;
  // pipe() tells the request nothing of a failing source: it would wait for bytes until the deadline.
  const stop = new AbortController();
  const stream = Readable.from(source.read(stop), { objectMode: false, highWaterMark: 256 * 1024 });
  stream.on('error', () => stop.abort());
  const command = new UploadPartCommand({
    ...at(ctx, to.key),
    UploadId: to.uploadId,
    PartNumber: part.number,
    ContentLength: part.end - part.start,
    Body: stream,
    ...sums,
  });
  command.middlewareStack.add(signedPayload(part.sha256), BEFORE_SIGNING);
  try {
    const answer = await sendOnce(to.where, ctx.partTimeoutMs, signal, (abortSignal) =>
      ctx.client.send(command, { abortSignal: AbortSignal.any([abortSignal, stop.signal]) }),
    );
    return acknowledged(to.where, part, sums, answer);
  } catch (e) {
    signal.throwIfAborted();
    if (source.failure !== undefined) throw source.failure.reason;
    throw e;
  } finally {
    stream.destroy();
  }
}

/** The bytes of one part, with what went wrong while reading them. */
class BodyReader {
  readonly part: Part;
  failure: { reason: unknown } | undefined;
  readonly #body: PartedBody;

  constructor(body: PartedBody, part: Part) {
    this.#body = body;
    this.part = part;
  }

  async *read(stop: AbortController): AsyncGenerator<Uint8Array> {
    const { start, end, number } = this.part;
    let bytes = 0;
    try {
      for await (const chunk of this.#body.read(start, end)) {
        bytes += chunk.byteLength;
        yield chunk;
      }
      if (bytes !== end - start) {
        throw new StrongroomError('E_BUG', `part ${number} of a body has ${bytes} bytes instead of ${end - start}`);
      }
    } catch (e) {
      this.failure = { reason: e };
      stop.abort();
      throw e;
    }
  }
}

type PartAnswer = {
  ETag?: string | undefined;
  ChecksumSHA256?: string | undefined;
  ChecksumCRC32?: string | undefined;
};

function acknowledged(where: Where, part: Part, sums: Checksums, answer: PartAnswer): SentPart {
  if (answer.ETag === undefined) {
    throw new StrongroomError('E_STORE_RESPONSE', `${phrase(where)}: part ${part.number} came back without an ETag`);
  }
  for (const name of ['ChecksumSHA256', 'ChecksumCRC32'] as const) {
    if (sums[name] !== undefined && answer[name] !== undefined && answer[name] !== sums[name]) {
      throw new StrongroomError(
        'E_STORE_CHECKSUM',
        `${phrase(where)}: part ${part.number} is acknowledged with another checksum`,
        { details: { sent: sums[name], acknowledged: answer[name], part: part.number } },
      );
    }
  }
  const { ContentMD5: _, ChecksumAlgorithm: __, ...kept } = sums;
  return { PartNumber: part.number, ETag: answer.ETag, ...kept };
}
