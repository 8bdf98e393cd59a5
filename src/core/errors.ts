/** The one error class, and the one table of everything that can go wrong. */

/** What a code means to the shell, to an HTTP client and to a retry loop. */
type CodeEntry = {
  /** process exit code; the list is in the README and in every command's help */
  exit: number;
  /** HTTP status when the error leaves through an API */
  http: number;
  /** default of {@link StrongroomError.retryable}: may the same call succeed later, with nothing changed by hand? */
  retryable: boolean;
  /** one line for docs/errors.md */
  meaning: string;
};

export const EXIT = {
  done: 0,
  bug: 1,
  usage: 2,
  partly: 3,
  notFound: 10,
  locked: 11,
  key: 12,
  verification: 13,
  refused: 14,
  config: 15,
  cluster: 20,
  deviated: 21,
  interrupted: 130,
} as const;

export const CODES = {
  E_BUG: { exit: 1, http: 500, retryable: false, meaning: 'a defect in strongroom itself' },
  E_USAGE: { exit: 2, http: 400, retryable: false, meaning: 'the command line makes no sense' },
  E_PARTIAL: { exit: 3, http: 500, retryable: true, meaning: 'done in part: a promised copy or wrap is missing' },
  E_NOT_FOUND: { exit: 10, http: 404, retryable: false, meaning: 'no such snapshot, file or object' },
  E_LOCKED: { exit: 11, http: 409, retryable: true, meaning: 'another run holds this cluster' },
  E_CONFIG_INVALID: { exit: 15, http: 400, retryable: false, meaning: 'the configuration is not usable' },
  E_PRECONDITION: { exit: 14, http: 412, retryable: false, meaning: 'refused: something that must hold does not' },
  E_CONFIRMATION: { exit: 14, http: 412, retryable: false, meaning: 'refused: the cluster name was not confirmed' },
  E_SPACE: { exit: 14, http: 507, retryable: true, meaning: 'not enough room on a disk of ours' },
  E_INTERRUPTED: { exit: 130, http: 503, retryable: true, meaning: 'stopped by a signal' },
  E_TIMEOUT: { exit: 1, http: 504, retryable: true, meaning: 'a deadline passed' },

  E_CHECK_WARNING: {
    exit: 1,
    http: 500,
    retryable: false,
    meaning: 'check: to be watched; exit code of a monitoring plugin',
  },
  E_CHECK_CRITICAL: {
    exit: 2,
    http: 503,
    retryable: false,
    meaning: 'check: not safe now; exit code of a monitoring plugin',
  },
  E_CHECK_UNKNOWN: {
    exit: 3,
    http: 503,
    retryable: false,
    meaning: 'check: cannot be told; exit code of a monitoring plugin',
  },
  E_DOCTOR: {
    exit: 14,
    http: 500,
    retryable: false,
    meaning: 'doctor: something would fail, and is said with its fix',
  },
  E_DENIED: { exit: 14, http: 401, retryable: false, meaning: 'a request to strongroom serve without its token' },
  E_FORBIDDEN: { exit: 14, http: 403, retryable: false, meaning: 'a page or form that is not for whoever asks' },

  E_VAULT_UNREACHABLE: { exit: 20, http: 502, retryable: true, meaning: 'a node does not answer' },
  E_VAULT_TLS: { exit: 20, http: 502, retryable: false, meaning: 'the TLS handshake with a node fails' },
  E_VAULT_SEALED: { exit: 20, http: 503, retryable: true, meaning: 'a node is sealed' },
  E_VAULT_UNINITIALISED: { exit: 20, http: 503, retryable: false, meaning: 'a node is not initialised' },
  E_VAULT_REMOVED: { exit: 20, http: 503, retryable: false, meaning: 'a node was removed from its cluster' },
  E_VAULT_DENIED: { exit: 14, http: 403, retryable: false, meaning: 'the token may not do this' },
  E_VAULT_LOGIN: { exit: 12, http: 401, retryable: false, meaning: 'the login to Vault is refused' },
  E_VAULT_NAMESPACE: { exit: 15, http: 400, retryable: false, meaning: 'a namespace where only root works' },
  E_VAULT_STANDBY: {
    exit: 20,
    http: 503,
    retryable: true,
    meaning: 'asked a standby for what only the active node does',
  },
  E_VAULT_RATE_LIMITED: { exit: 20, http: 429, retryable: true, meaning: 'a rate-limit quota of the cluster' },
  E_VAULT_NOT_RAFT: { exit: 14, http: 412, retryable: false, meaning: 'the cluster is not on integrated storage' },
  E_DISCOVERY: { exit: 20, http: 502, retryable: true, meaning: 'the nodes of a cluster cannot be discovered' },
  E_VAULT_RESPONSE: { exit: 20, http: 502, retryable: true, meaning: 'an answer no Vault or OpenBao should give' },
  E_NO_ACTIVE_NODE: { exit: 20, http: 503, retryable: true, meaning: 'no node is active' },
  E_QUORUM_LOST: { exit: 20, http: 503, retryable: true, meaning: 'too few voters are alive' },
  E_SEAL_UNHEALTHY: {
    exit: 20,
    http: 503,
    retryable: true,
    meaning: "the seal's key cannot be used: no valid snapshot is possible",
  },
  E_INSTALL_UNKNOWN: {
    exit: 20,
    http: 502,
    retryable: false,
    meaning: 'it is not known whether the cluster was restored',
  },
  E_INSTALL_REFUSED: { exit: 13, http: 409, retryable: false, meaning: 'the server refused the archive' },
  E_UNSEAL: { exit: 12, http: 403, retryable: false, meaning: 'the unseal key shares do not open the cluster' },
  E_PROOF_FAILED: {
    exit: 13,
    http: 500,
    retryable: false,
    meaning: 'the restored cluster is not what the snapshot says',
  },

  E_SNAPSHOT_TRUNCATED: { exit: 13, http: 502, retryable: true, meaning: 'the archive ends too early' },
  E_SNAPSHOT_FORMAT: {
    exit: 13,
    http: 502,
    retryable: false,
    meaning: 'not a raft snapshot archive, or one with parts it must not have',
  },
  E_SNAPSHOT_CHECKSUM: {
    exit: 13,
    http: 502,
    retryable: true,
    meaning: 'a hash, size or CRC in the archive does not fit',
  },
  E_SNAPSHOT_UNSEALED: { exit: 13, http: 502, retryable: true, meaning: 'SHA256SUMS.sealed is missing or unreadable' },
  E_SNAPSHOT_STALE: { exit: 13, http: 409, retryable: true, meaning: 'the raft index is below the last good snapshot' },
  E_SNAPSHOT_IMPLAUSIBLE: {
    exit: 13,
    http: 409,
    retryable: false,
    meaning: 'size or record count fell past the limit',
  },

  E_KEY_UNAVAILABLE: { exit: 12, http: 503, retryable: true, meaning: 'no key that could wrap or open is usable now' },
  E_KEY_REFUSED: { exit: 14, http: 412, retryable: false, meaning: 'a key that must not be used for this' },
  E_DECRYPT: { exit: 12, http: 422, retryable: false, meaning: 'the ciphertext does not authenticate' },
  E_SIGNATURE: { exit: 13, http: 422, retryable: false, meaning: 'a manifest is unsigned, foreign or changed' },
  E_MANIFEST: { exit: 13, http: 422, retryable: false, meaning: 'a manifest that does not belong where it was found' },
  E_AUDIT: { exit: 13, http: 500, retryable: false, meaning: 'a destination holds, or lacks, what it should not' },

  E_STORE_UNREACHABLE: { exit: 14, http: 502, retryable: true, meaning: 'a destination does not answer' },
  E_STORE_DENIED: {
    exit: 14,
    http: 403,
    retryable: false,
    meaning: 'a destination refuses the credentials or the action',
  },
  E_STORE_BUCKET: { exit: 15, http: 502, retryable: false, meaning: 'a bucket is missing, or in another region' },
  E_STORE_THROTTLED: { exit: 14, http: 503, retryable: true, meaning: 'a destination asks to slow down' },
  E_STORE_CONFLICT: {
    exit: 14,
    http: 409,
    retryable: false,
    meaning: 'the object exists already, or changed meanwhile',
  },
  E_STORE_LOCKED: { exit: 14, http: 409, retryable: false, meaning: 'an object lock forbids it' },
  E_STORE_FULL: { exit: 14, http: 507, retryable: false, meaning: 'a destination has no room' },
  E_STORE_CHECKSUM: { exit: 13, http: 502, retryable: true, meaning: 'what a destination holds is not what was sent' },
  E_STORE_SKEW: {
    exit: 14,
    http: 403,
    retryable: false,
    meaning: 'the clocks of this machine and of the destination differ too much',
  },
  E_STORE_RESPONSE: { exit: 14, http: 502, retryable: true, meaning: 'an answer no store should give' },

  E_QUEUE_UNREACHABLE: {
    exit: 14,
    http: 502,
    retryable: true,
    meaning: "the queue's Redis does not answer, or takes no writes now",
  },
  E_QUEUE_DENIED: {
    exit: 12,
    http: 403,
    retryable: false,
    meaning: "the queue's Redis refuses the user, the password or a command",
  },
  E_QUEUE_TLS: { exit: 14, http: 502, retryable: false, meaning: "the TLS handshake with the queue's Redis fails" },
  E_QUEUE_CONFIG: {
    exit: 15,
    http: 400,
    retryable: false,
    meaning: "the queue's Redis is not set up as the queue needs it, or is another one than configured",
  },
  E_NOTIFY_UNREACHABLE: { exit: 14, http: 502, retryable: true, meaning: 'a notification sink does not answer' },
  E_NOTIFY_THROTTLED: { exit: 14, http: 429, retryable: true, meaning: 'a notification sink asks to slow down' },
  E_NOTIFY_REFUSED: {
    exit: 14,
    http: 502,
    retryable: false,
    meaning: 'a notification sink refuses the message or the credentials',
  },
} as const satisfies Record<string, CodeEntry>;

export type ErrorCode = keyof typeof CODES;

export type ErrorOptions = {
  /** the next command or page; what the reader does now */
  hint?: string;
  /** ids and numbers, never secrets */
  details?: Record<string, unknown>;
  retryable?: boolean;
  cause?: unknown;
};

// Recognised by symbol, not by instanceof: two installed copies still match.
const BRAND = Symbol.for('strongroom.error');

/** Every failure that strongroom names. `message` says what failed and on what; lower case, no full stop. */
export class StrongroomError extends Error {
  readonly [BRAND] = true;
  override readonly name = 'StrongroomError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: Record<string, unknown>;
  readonly retryable: boolean;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.details = options.details ?? {};
    this.retryable = options.retryable ?? CODES[code].retryable;
  }

  /** For logs and APIs: code, message, hint, details and the messages of the causes; no stack. */
  toJSON(): Record<string, unknown> {
    return {
      code: this.code,
      message: this.message,
      ...(this.hint === undefined ? {} : { hint: this.hint }),
      ...(Object.keys(this.details).length === 0 ? {} : { details: this.details }),
      retryable: this.retryable,
      causes: causeMessages(this.cause),
    };
  }
}

/** True for a {@link StrongroomError}, and when `code` is given, only for that code. */
export function isError(e: unknown, code?: ErrorCode): e is StrongroomError {
  return (
    typeof e === 'object' && e !== null && BRAND in e && (code === undefined || (e as StrongroomError).code === code)
  );
}

/** The exit code that this failure means: of its table entry, 130 for an abort by a signal, 1 for everything unnamed. */
export function exitCodeOf(e: unknown): number {
  return isError(e) ? CODES[e.code].exit : EXIT.bug;
}

/** `E_CODE: message` for our own errors, the bare message for others. For one line of talk. */
export function describeError(e: unknown): string {
  if (isError(e)) return `${e.code}: ${e.message}`;
  return e instanceof Error ? e.message : String(e);
}

function causeMessages(cause: unknown): string[] {
  const messages: string[] = [];
  let current = cause;
  while (current instanceof Error && messages.length < 8) {
    const code = (current as { code?: unknown }).code;
    messages.push(typeof code === 'string' ? `${code}: ${current.message}` : current.message);
    current = current.cause;
  }
  return messages;
}
