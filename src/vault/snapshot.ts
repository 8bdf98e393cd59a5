/** Taking a raft snapshot from the active node. The bytes are unverified: a 200 that ends cleanly may still be a stump. */
import { isError, StrongroomError } from '../core/errors.ts';
import type { Bytes } from '../core/flow.ts';
import type { Secret } from '../core/secret.ts';
import { formatDuration } from '../core/units.ts';
import type { ActiveNode } from './active-node.ts';
import type { Connection } from './connection.ts';
import { statusError } from './status-errors.ts';
import type { StreamAnswer } from './transport.ts';

export const SNAPSHOT_PATH = 'sys/storage/raft/snapshot';

export type TakeOptions = {
  signal: AbortSignal;
  /**
   * for the whole download, in ms. The server holds its state lock until the last byte is fetched: with a slow reader one
   * change of leader meanwhile hangs the whole node (facts/vault trap 10)
   */
  deadlineMs: number;
  /** longest pause between two chunks, and before the first, in ms; a seal whose key hangs makes one of 60 s */
  idleMs?: number;
};

const IDLE_MS = 120_000;

type Opened = { answer: StreamAnswer; on: Connection };

/**
 * The archive as it comes. Nothing is opened before the first byte is asked for; when the reader stops, the connection
 * is cut. Rejects with E_VAULT_STANDBY when the node is no longer active (nothing is followed), with E_VAULT_UNREACHABLE
 * when the connection is lost, E_TIMEOUT at the deadline, what a refusing status means, or the abort reason.
 */
export async function* takeSnapshot(node: ActiveNode, options: TakeOptions): Bytes {
  const { signal, deadlineMs, idleMs = IDLE_MS } = options;
  signal.throwIfAborted();
  const deadline = AbortSignal.timeout(deadlineMs);
  const either = AbortSignal.any([signal, deadline]);
  let bytes = 0;
  let opened: Opened | undefined;
  try {
    opened = await node.withToken(signal, (token) => open(node, token, Math.min(idleMs, deadlineMs), either));
    for await (const chunk of opened.answer.body as AsyncIterable<Uint8Array>) {
      bytes += chunk.byteLength;
      yield chunk;
    }
  } catch (e) {
    if (signal.aborted) throw signal.reason;
    if (deadline.aborted) throw tooLong(node.url, deadlineMs, bytes, e);
    throw await broken(node, bytes, e);
  } finally {
    // A body that was not read to its end goes down with its connection: the server must not wait for us.
    opened?.answer.body.destroy();
    await opened?.on[Symbol.asyncDispose]();
  }
}

async function open(node: ActiveNode, token: Secret, idleMs: number, signal: AbortSignal): Promise<Opened> {
  const { transport } = node.client;
  const on = transport.connection();
  let answer: StreamAnswer | undefined;
  try {
    await node.assertActive(on, signal);
    answer = await transport.stream({
      on,
      method: 'GET',
      path: SNAPSHOT_PATH,
      token,
      signal,
      headersMs: idleMs,
      idleMs,
    });
    const type = answer.headers['content-type'] ?? '';
    if (answer.status === 200 && /^application\/(x-)?gzip\b/.test(type)) return { answer, on };
    const refusal = await transport.refusal(answer, token);
    if (answer.status !== 200) throw statusError(refusal, { node: node.url, method: 'GET', path: SNAPSHOT_PATH });
    throw new StrongroomError(
      'E_VAULT_RESPONSE',
      `${node.url} answers the snapshot with "${type}" in place of a gzip file`,
      {
        hint: 'is this the address of a node, with no proxy between?',
        details: { node: node.url, contentType: type },
        retryable: false,
      },
    );
  } catch (e) {
    answer?.body.destroy();
    await on[Symbol.asyncDispose]();
    throw e;
  }
}

async function broken(node: ActiveNode, bytes: number, e: unknown): Promise<StrongroomError> {
  if (isError(e)) return e;
  const error = await node.client.transport.failure(e);
  if (bytes === 0 || error.code !== 'E_VAULT_UNREACHABLE') return error;
  const silent = error.details['reason'] === 'timeout';
  return new StrongroomError(
    'E_VAULT_UNREACHABLE',
    `the snapshot from ${node.url} broke off after ${bytes} bytes: ${silent ? 'nothing more came' : 'the connection was lost'}`,
    {
      hint: 'try again; if it happens again, look at the log of the node',
      details: { ...error.details, bytes },
      retryable: true,
      cause: e,
    },
  );
}

function tooLong(node: string, deadlineMs: number, bytes: number, cause: unknown): StrongroomError {
  return new StrongroomError(
    'E_TIMEOUT',
    `the snapshot from ${node} was not there within ${formatDuration(deadlineMs)} (${bytes} bytes came)`,
    {
      hint: 'the download was cut, because it holds a lock of the server: look at the network to the node, or raise the deadline',
      details: { node, bytes, deadlineMs },
      cause,
    },
  );
}
