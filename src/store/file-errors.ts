/** What the file system says, as our errors. */
import { type ErrorCode, isError, StrongroomError } from '../core/errors.ts';

type Meaning = { code: ErrorCode; why: string; hint?: string; retryable?: boolean };

const full: Meaning = {
  code: 'E_STORE_FULL',
  why: 'no room',
  hint: 'free room there or raise the quota (strongroom prune shows what retention would remove)',
};
const denied: Meaning = {
  code: 'E_STORE_DENIED',
  why: 'access denied',
  hint: 'give the user that runs strongroom the right to read, write and enter the directory',
};
const gone: Meaning = {
  code: 'E_STORE_UNREACHABLE',
  why: 'the disk or the mount does not answer',
  hint: 'check the mount and the kernel log',
};
const shape: Meaning = {
  code: 'E_PRECONDITION',
  why: 'the key cannot be a file there',
  hint: 'a name may have 255 bytes, and what is an object cannot be a folder as well',
};

const BY_CODE: Record<string, Meaning> = {
  ENOSPC: full,
  EDQUOT: full,
  EFBIG: full,
  EACCES: denied,
  EPERM: denied,
  EROFS: { ...denied, hint: 'the file system is mounted read-only' },
  EIO: gone,
  ESTALE: gone,
  ENODEV: gone,
  ENXIO: gone,
  ENOTCONN: gone,
  EHOSTDOWN: gone,
  ETIMEDOUT: gone,
  EEXIST: shape,
  ENAMETOOLONG: shape,
  EISDIR: shape,
  ENOTDIR: shape,
  ELOOP: { ...shape, why: 'a link stands where the object should be' },
  ENOENT: { code: 'E_STORE_RESPONSE', why: 'a file vanished meanwhile', retryable: true },
};

/** The code of a node error, such as ENOENT; empty for everything else. */
export function errnoOf(e: unknown): string {
  if (!(e instanceof Error) || !('code' in e)) return '';
  return typeof e.code === 'string' ? e.code : '';
}

/** `doing` = such as `storing "k" in destination "usb"`. Ours pass through unchanged. */
export function translateFile(e: unknown, doing: string): StrongroomError {
  if (isError(e)) return e;
  const errno = errnoOf(e);
  const meaning = BY_CODE[errno] ?? { code: 'E_STORE_RESPONSE', why: 'the file system refuses it', retryable: false };
  return new StrongroomError(meaning.code, `${doing}: ${meaning.why} (${errno === '' ? 'unknown' : errno})`, {
    ...(meaning.hint === undefined ? {} : { hint: meaning.hint }),
    ...(meaning.retryable === undefined ? {} : { retryable: meaning.retryable }),
    details: { answer: errno },
    cause: e,
  });
}
