/** What AWS KMS answers when it refuses: the name that clients branch on, and the HTTP status that carries it. */

const STATUS: Record<string, number> = {
  AccessDeniedException: 400,
  AlreadyExistsException: 400,
  DependencyTimeoutException: 503,
  DisabledException: 400,
  IncorrectKeyException: 400,
  InvalidAliasNameException: 400,
  InvalidCiphertextException: 400,
  InvalidKeyUsageException: 400,
  KMSInternalException: 500,
  KMSInvalidSignatureException: 400,
  KMSInvalidStateException: 400,
  KeyUnavailableException: 500,
  MissingAuthenticationTokenException: 400,
  NotFoundException: 400,
  ThrottlingException: 400,
  UnknownOperationException: 400,
  UnsupportedOperationException: 400,
  ValidationException: 400,
};

/** A refusal by name. It is protocol, not a failure of the emulator: the server turns it into `{"__type": name}`. */
export class KmsError extends Error {
  override readonly name: string;
  readonly status: number;

  constructor(name: string, message: string, status?: number) {
    super(message);
    this.name = name;
    this.status = status ?? STATUS[name] ?? 400;
  }
}
