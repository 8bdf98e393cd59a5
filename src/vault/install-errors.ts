/** What a server that refuses an archive means by it. In all these cases nothing was applied. */
import { StrongroomError } from '../core/errors.ts';
import { formatDuration } from '../core/units.ts';
import type { Answer } from './status-errors.ts';

/** `answer` is a refusal that says nothing about tokens, seals or leaders; `meant` is kept as the cause. */
export function refusedInstall(answer: Answer, node: string, meant: StrongroomError): StrongroomError {
  const text = answer.errors.join('; ');
  const refused = (message: string, hint: string, retryable = false): StrongroomError =>
    new StrongroomError('E_INSTALL_REFUSED', message, {
      hint,
      details: { node, status: answer.status, server: text },
      retryable,
      cause: meant,
    });
  if (/could not verify hash file/i.test(text)) {
    return refused(
      `${node} cannot open the sealed checksums of the archive: they were sealed by another key`,
      'the archive is from another cluster, from before a rekey or seal migration, or the seal type or its key differs: compare both; if it is meant so, restore with force',
    );
  }
  if (/i\/o timeout/i.test(text)) return slowUpload(node, null, null, meant);
  if (/cannot restore snapshot now/i.test(text)) {
    return refused(`${node} has a change of members under way and takes no archive now`, 'try again in a minute', true);
  }
  if (/no space left/i.test(text)) {
    return refused(
      `${node} has no room for the archive`,
      "make room in the server's temporary directory (TMPDIR): it needs the unpacked size",
      true,
    );
  }
  if (/unexpected EOF|failed to (decompress|read|verify)|hash|checksum|unexpected file|gzip/i.test(text)) {
    return refused(
      `${node} finds the archive damaged: ${text}`,
      'nothing was applied; verify the archive, then send it again',
    );
  }
  return refused(
    `${node} refuses the archive with ${answer.status}: ${text || 'no reason given'}`,
    'nothing was applied; look at the log of the node',
  );
}

/** The listener's http_read_timeout cut the upload. Elapsed time and bytes are null when the server itself said so. */
export function slowUpload(
  node: string,
  elapsedMs: number | null,
  sent: number | null,
  cause: unknown,
): StrongroomError {
  const after = elapsedMs === null ? '' : ` after ${formatDuration(elapsedMs)}`;
  return new StrongroomError(
    'E_INSTALL_REFUSED',
    `${node} cut the upload${after}: http_read_timeout of its listener passed`,
    {
      hint: 'nothing was applied; raise http_read_timeout in the listener stanza (30m, say) and reload, or send from nearer: a whole upload must fit into it',
      details: {
        node,
        ...(elapsedMs === null ? {} : { elapsedMs: Math.round(elapsedMs) }),
        ...(sent === null ? {} : { sent }),
      },
      cause,
    },
  );
}
