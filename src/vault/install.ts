/** Handing a verified archive to the active node, and saying no more about the outcome than is known. */
import { isError, StrongroomError } from '../core/errors.ts';
import type { Bytes } from '../core/flow.ts';
import type { Secret } from '../core/secret.ts';
import { formatDuration } from '../core/units.ts';
import type { ActiveNode } from './active-node.ts';
import { DEFAULT_READ_TIMEOUT_MS } from './client.ts';
import { HoldBack } from './hold-back.ts';
import { refusedInstall, slowUpload } from './install-errors.ts';
import { isConnectionLost } from './network-errors.ts';
import { SNAPSHOT_PATH } from './snapshot.ts';
import { type Answer, statusError } from './status-errors.ts';
import type { StreamAnswer } from './transport.ts';

export type InstallOptions = {
  /** exact length of `body`; sent as Content-Length */
  bytes?: number;
  /** skip the server's check that the archive was sealed by its own key */
  force: boolean;
  signal: AbortSignal;
  /** the listener's http_read_timeout in ms, as {@link NodeClient.listenerReadTimeoutMs} tells it; default 30 s */
  readTimeoutMs?: number;
  /** for the server's answer once everything is sent, in ms: it unpacks the whole archive first */
  answerMs?: number;
};

/** `accepted` proves only that the archive unpacked: the server applies it afterwards, and may fail. Look, don't believe. */
export type InstallOutcome = { outcome: 'accepted' } | { outcome: 'unknown'; reason: string };

const ANSWER_MS = 600_000;

/**
 * Sends `body`, which must have been verified completely, to the active node and to nothing else.
 *
 * The last 64 KiB are held back until `body` has ended cleanly: both products apply an upload that is cut in its last
 * dozen bytes, so until then a failure means for certain that nothing was applied. It rejects then, with E_INSTALL_REFUSED,
 * E_VAULT_STANDBY, E_VAULT_DENIED, E_VAULT_UNREACHABLE, what `body` threw, or the abort reason. From then on only an answer
 * of the server is a rejection; a lost connection, and an abort too, is the outcome `unknown`.
 */
export async function installSnapshot(node: ActiveNode, body: Bytes, options: InstallOptions): Promise<InstallOutcome> {
  const { bytes, force, signal, answerMs = ANSWER_MS } = options;
  const path = force ? `${SNAPSHOT_PATH}-force` : SNAPSHOT_PATH;
  const { transport } = node.client;
  await refreshToken(node, signal);
  const token = await node.session.token(node.client, signal);
  await using on = transport.connection();
  await node.assertActive(on, signal);
  const upload = new HoldBack(body, bytes);
  let answer: StreamAnswer | undefined;
  try {
    answer = await transport.stream({
      on,
      method: 'POST',
      path,
      token,
      headers: {
        'content-type': 'application/gzip',
        ...(bytes === undefined ? {} : { 'content-length': String(bytes) }),
      },
      body: upload.bytes(),
      signal,
      headersMs: answerMs,
      idleMs: answerMs,
    });
    if (answer.status === 204 || answer.status === 200) return accepted(upload, node.url);
    const refusal = await readRefusal(node, answer, token);
    if (upload.released && answer.status >= 500 && refusal.json === undefined) {
      return { outcome: 'unknown', reason: `not the node but something before it answered ${answer.status}` };
    }
    const meant = statusError(refusal, { node: node.url, method: 'POST', path });
    throw meant.code === 'E_VAULT_RESPONSE' ? refusedInstall(refusal, node.url, meant) : meant;
  } catch (e) {
    if (isError(e) && answer !== undefined) throw e;
    return await lost(node, upload, options, e);
  } finally {
    answer?.body.destroy();
  }
}

/** The body can be sent only once: a token that has expired must be replaced before, not when the answer is a 403. */
async function refreshToken(node: ActiveNode, signal: AbortSignal): Promise<void> {
  try {
    await node.lookupSelf(signal);
  } catch (e) {
    // It may lack the right to look at itself and still be good for this.
    if (!isError(e, 'E_VAULT_DENIED')) throw e;
  }
}

function accepted(upload: HoldBack, node: string): InstallOutcome {
  return upload.complete
    ? { outcome: 'accepted' }
    : { outcome: 'unknown', reason: `${node} accepted an archive of which only a part had been sent` };
}

async function readRefusal(node: ActiveNode, answer: StreamAnswer, token: Secret): Promise<Answer> {
  try {
    return await node.client.transport.refusal(answer, token);
  } catch {
    // The status line came, the rest was lost with the connection: the status alone still says that it is refused.
    return { status: answer.status, headers: answer.headers, json: undefined, errors: [] };
  }
}

async function lost(node: ActiveNode, upload: HoldBack, options: InstallOptions, e: unknown): Promise<InstallOutcome> {
  const { signal, readTimeoutMs = DEFAULT_READ_TIMEOUT_MS } = options;
  if (upload.released) {
    const how = signal.aborted ? 'the run was interrupted' : 'the connection was lost';
    return {
      outcome: 'unknown',
      reason: `${how} after the whole archive (${upload.sent} bytes) was handed over and before ${node.url} answered`,
    };
  }
  if (signal.aborted) throw signal.reason;
  if (upload.failure !== undefined) throw upload.failure.error;
  const elapsedMs = upload.elapsedMs();
  // Vault cuts at 30.0 s; a client that is still writing may see the broken pipe before the 500 that explains it.
  if (isConnectionLost(e) && elapsedMs >= readTimeoutMs * 0.9) throw slowUpload(node.url, elapsedMs, upload.sent, e);
  const error = await node.client.transport.failure(e);
  if (upload.sent === 0) throw error;
  throw new StrongroomError(
    error.code,
    `the upload to ${node.url} broke off after ${upload.sent} bytes; nothing was applied`,
    {
      hint: `try again; it ran for ${formatDuration(elapsedMs)}`,
      details: { ...error.details, sent: upload.sent },
      retryable: error.retryable,
      cause: e,
    },
  );
}
