/** What AWS KMS answers, in our words: translated here, once. */
import { type ErrorCode, StrongroomError } from '../core/errors.ts';
import { explainHandshake, handshakeFault, namesInCertificate } from '../core/handshake.ts';

/** What was asked, of which key: part of every message. */
export type KmsCall = { operation: string; keyId: string; region: string };

type Meaning = { code: ErrorCode; retryable: boolean; says: string; hint: string };

const refused = (says: string, hint: string): Meaning => ({ code: 'E_KEY_REFUSED', retryable: false, says, hint });
const down = (says: string): Meaning => ({
  code: 'E_KEY_UNAVAILABLE',
  retryable: true,
  says,
  hint: 'try again; the wraps of other regions and the break-glass identities do not need this key',
});
const noLogin = (says: string): Meaning => ({
  code: 'E_KEY_UNAVAILABLE',
  retryable: false,
  says,
  hint: 'check the AWS credentials of this process: aws sts get-caller-identity',
});
const wrong = (says: string): Meaning => ({
  code: 'E_DECRYPT',
  retryable: false,
  says,
  hint: 'the wrap belongs to another cluster, snapshot or key, or was altered: use another wrap, or an older version of keys.json',
});

const redirected: Meaning = {
  code: 'E_KEY_UNAVAILABLE',
  retryable: false,
  says: 'KMS answers with a redirect',
  hint: 'check region and endpoint of the key; something between may answer in the place of KMS',
};
const disabled = refused('the key is disabled', 'aws kms enable-key --key-id <arn> --region <region>');
const denied = refused(
  'access is denied',
  'the role needs this action on the key, for this encryption context (conditions on kms:EncryptionContext count)',
);

const BY_NAME: Readonly<Record<string, Meaning>> = {
  InvalidCiphertextException: wrong('the wrap does not open with this key and encryption context'),
  IncorrectKeyException: wrong('the wrap was made by another key'),
  DisabledException: disabled,
  KMSInvalidStateException: refused(
    'the state of the key forbids it (pending deletion or import, or unavailable)',
    'aws kms describe-key --key-id <arn> --region <region>; a pending deletion is stopped by aws kms cancel-key-deletion',
  ),
  NotFoundException: refused('there is no such key', 'check region, account and id of the ARN'),
  InvalidArnException: refused('there is no such key', 'check region, account and id of the ARN'),
  InvalidKeyUsageException: refused(
    'the key is not for this use',
    'a symmetric ENCRYPT_DECRYPT key wraps, an ECC_NIST_P256 key signs',
  ),
  UnsupportedOperationException: refused('the key does not support this', 'use a symmetric ENCRYPT_DECRYPT key'),
  InvalidGrantTokenException: denied,
  AccessDeniedException: denied,
  AccessDenied: denied,
  KeyUnavailableException: down('the key is not available at the moment'),
  KMSInternalException: down('KMS failed inside'),
  DependencyTimeoutException: down('KMS timed out inside'),
  ThrottlingException: down('too many requests'),
  LimitExceededException: down('a quota is reached'),
  RequestLimitExceeded: down('too many requests'),
  TooManyRequestsException: down('too many requests'),
  UnrecognizedClientException: noLogin('the credentials are not known'),
  InvalidClientTokenId: noLogin('the credentials are not known'),
  MissingAuthenticationTokenException: noLogin('the request has no credentials'),
  InvalidSignatureException: noLogin('the signature of the request is refused'),
  SignatureDoesNotMatch: noLogin('the signature of the request is refused'),
  IncompleteSignature: noLogin('the signature of the request is refused'),
  ExpiredTokenException: noLogin('the credentials have expired'),
  ExpiredToken: noLogin('the credentials have expired'),
  CredentialsProviderError: noLogin('there are no credentials'),
  TokenProviderError: noLogin('there are no credentials'),
};

/**
 * Translates what an SDK call threw. By the error's name, then by its HTTP status; what has neither is the network's, and
 * retryable. The cause is a copy with name and message: the SDK hangs whole responses, plaintext included, on some errors.
 */
export function kmsError(e: unknown, call: KmsCall): StrongroomError {
  const name = e instanceof Error ? e.name : 'unknown';
  const status = statusOf(e);
  const meaning = BY_NAME[name] ?? (status === undefined ? unanswered(e, name) : byStatus(status, name));
  return new StrongroomError(meaning.code, message(call, meaning.says), {
    hint: meaning.hint,
    retryable: meaning.retryable,
    details: { ...call, awsError: name, ...(status === undefined ? {} : { status }) },
    cause: bareCause(e),
  });
}

/** For a call that did not answer within its deadline. */
export function kmsTimeout(call: KmsCall, deadlineMs: number): StrongroomError {
  const meaning = down(`no answer within ${deadlineMs / 1000} s`);
  return new StrongroomError(meaning.code, message(call, meaning.says), {
    hint: meaning.hint,
    details: { ...call, deadlineMs },
  });
}

/** `kms:Decrypt with arn:… in eu-west-1: access is denied` */
export function message(call: KmsCall, says: string): string {
  return `${call.operation} with ${call.keyId} in ${call.region}: ${says}`;
}

/** No HTTP answer: what the network or TLS says. */
function unanswered(e: unknown, name: string): Meaning {
  const code = e instanceof Error && 'code' in e && typeof e.code === 'string' ? e.code : '';
  const fault = handshakeFault(code, e instanceof Error ? e.message : '');
  if (fault === null) return down(`KMS cannot be reached (${code === '' ? name : code})`);
  const names = fault === 'other-name' ? namesInCertificate(e) : null;
  const { says, hint } = explainHandshake(fault, 'key');
  return {
    code: 'E_KEY_UNAVAILABLE',
    // Another try meets the same certificate.
    retryable: false,
    says: `the TLS handshake with KMS fails: ${says} (${code})`,
    hint: names === null ? hint : `${hint}: ${names}`,
  };
}

function byStatus(status: number, name: string): Meaning {
  if (status >= 500 || status === 429) return down(`KMS answers ${status}`);
  if (status >= 300 && status < 400) {
    return { ...redirected, says: `KMS answers with a redirect (${status}), which is never followed` };
  }
  // Cut off on its way, or a proxy's page.
  if (status < 400) return down(`the answer of KMS cannot be read (${status})`);
  if (status === 401 || status === 403) return denied;
  return refused(`KMS refuses (${name}, ${status})`, 'look at the cause; check key, region and endpoint');
}

function statusOf(e: unknown): number | undefined {
  if (typeof e !== 'object' || e === null || !('$metadata' in e)) return undefined;
  const metadata = e.$metadata;
  if (typeof metadata !== 'object' || metadata === null || !('httpStatusCode' in metadata)) return undefined;
  return typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : undefined;
}

function bareCause(e: unknown): Error | undefined {
  if (!(e instanceof Error)) return undefined;
  // A parser repeats the text it stumbled over, and that may be an answer with a plaintext in it.
  const text = e instanceof SyntaxError || e.message === '' ? '' : (e.message.split('\n', 1)[0] ?? '');
  const copy = new Error(text === '' ? e.name : text);
  copy.name = e.name;
  return copy;
}
