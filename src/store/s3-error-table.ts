/** Names of S3, the SDK, the network and TLS, and what each of them means here. */
import type { ErrorCode } from '../core/errors.ts';
import { explainHandshake, handshakeFault } from '../core/handshake.ts';
import type { Failure } from './s3-failure.ts';
import { OPERATIONS, permissions, type Where } from './s3-where.ts';

export type Meaning = {
  code: ErrorCode;
  why: string;
  hint?: string | undefined;
  /** when it differs from the code's default */
  retryable?: boolean | undefined;
};

/** Of a bucket that is to keep locks, and was made without. */
export const noObjectLock = {
  code: 'E_PRECONDITION',
  why: 'the bucket has no object lock',
  hint: 'make the bucket with object lock enabled, or take objectLock out of this destination',
} as const satisfies Meaning;

/** Where "not found" means the object. */
const OF_AN_OBJECT: readonly string[] = ['get', 'head', 'delete', 'hold', 'set-hold'];

type Reading = (failure: Failure, where: Where) => Meaning;
type Entry = Meaning | Reading;

/** The meaning of `failure`: by its name, by its network code, then by its HTTP status. */
export function meaningOf(failure: Failure, where: Where): Meaning {
  const entry =
    BY_NAME.get(failure.name) ??
    (failure.name.startsWith('KMS.') ? serverSideKey : undefined) ??
    (failure.code === undefined ? undefined : (tlsMeaning(failure) ?? networkMeaning(failure.code))) ??
    byMessage(failure) ??
    byStatus(failure, where);
  return typeof entry === 'function' ? entry(failure, where) : entry;
}

const bucketMissing: Reading = (_, where) => ({
  code: 'E_STORE_BUCKET',
  why: `there is no bucket "${where.bucket}"`,
  hint: 'check bucket, region and endpoint of the destination; strongroom never creates a bucket',
});
const bucketElsewhere: Reading = (failure, where) => ({
  code: 'E_STORE_BUCKET',
  why: `bucket "${where.bucket}" is in another region`,
  hint: failure.region === undefined ? "set the bucket's own region" : `set region: ${failure.region}`,
});
/** The client follows none: it would show signed requests, with all they carry, to whoever the answer names. */
const redirected: Reading = (failure, where) => {
  if (failure.region !== undefined) return bucketElsewhere(failure, where);
  const to = failure.location === undefined ? '' : ` to ${failure.location}`;
  return {
    code: 'E_STORE_BUCKET',
    why: `it answers with a redirect${to}${status(failure)}, which is never followed`,
    hint: 'if the bucket is there, set `endpoint` and `region` accordingly; if not, something between answers in its place',
  };
};
const denied: Reading = (failure, where) =>
  /object.?lock|WORM|retention|legal hold/i.test(failure.message) && where.operation === 'delete'
    ? locked(failure, where)
    : {
        code: 'E_STORE_DENIED',
        why: `access denied${quote(failure.message)}`,
        hint: `grant ${permissions(where)} on bucket "${where.bucket}"${
          OPERATIONS[where.operation].action === 's3:GetObject'
            ? ', and s3:ListBucket: without it a missing key is denied, too'
            : ''
        }; look at the bucket policy, and at the policy of the KMS key when the bucket uses one`,
      };
const locked = (failure: Failure, where: Where): Meaning => ({
  code: 'E_STORE_LOCKED',
  why: `an object lock forbids it${quote(failure.message)}`,
  hint: `wait until the lock ends (strongroom snapshots show tells when)${where.versionId === undefined ? '' : `; version ${where.versionId}`}`,
});
const expired: Meaning = {
  code: 'E_STORE_DENIED',
  why: 'the credentials have expired',
  hint: 'renew the session or the role, and check that the clock of this machine is right',
};
const unknownKey: Meaning = {
  code: 'E_STORE_DENIED',
  why: 'the access key is not known there',
  hint: 'check that the credentials belong to this account and endpoint, and that the key was not removed',
};
const wrongSignature: Meaning = {
  code: 'E_STORE_DENIED',
  why: 'the signature does not fit',
  hint: 'check the secret access key, the region, and that no proxy between changes the Host header or the path',
};
const noCredentials: Reading = (failure) => ({
  code: 'E_STORE_DENIED',
  why: `no credentials could be had${quote(failure.message)}`,
  hint: 'give the destination credentials, or run where a role is attached (IRSA, instance profile, AWS_PROFILE)',
});
const skewed: Reading = (failure) => ({
  code: 'E_STORE_SKEW',
  why: `the clocks differ too much${clocks(failure.serverTime)}`,
  hint: 'set the clock of this machine by NTP (chronyc tracking, timedatectl); ids and lock dates depend on it, too',
});
const slow: Meaning = {
  code: 'E_STORE_THROTTLED',
  why: 'asked to slow down',
  hint: 'lower partConcurrency, or back up at another time',
};
const broken: Reading = (failure) => ({
  code: 'E_STORE_RESPONSE',
  why: `an error inside the destination${status(failure)}`,
  hint: 'try again; if it stays, ask whoever runs the destination with the request id',
});
const gateway: Reading = (failure) => ({
  code: 'E_STORE_UNREACHABLE',
  why: `the destination does not answer behind its gateway${status(failure)}`,
});
const changed: Reading = (failure) => ({
  code: 'E_STORE_CHECKSUM',
  why: `what arrived does not fit its checksum${quote(failure.message)}`,
  hint: 'try again; if it stays, suspect the memory and the disk of this machine or a proxy between',
});
const full: Reading = (failure) => ({
  code: 'E_STORE_FULL',
  why: `no room${quote(failure.message)}`,
  hint: 'raise the quota or free room there (strongroom prune shows what retention would remove)',
});
const tooLarge: Reading = (failure) => ({
  code: 'E_PRECONDITION',
  why: `the destination refuses the size${quote(failure.message)}`,
  hint: 'parts have 8 MiB, and Amazon takes 5 MiB to 5 GiB: does this destination, or a proxy before it, take less?',
});
const headersTooLarge: Reading = (failure) => ({
  code: 'E_PRECONDITION',
  why: `the destination refuses the length of the key or of the headers${quote(failure.message)}`,
  hint: 'shorten the prefix of the destination, or its tags; Amazon takes 1,024 bytes of key and 2 KB of metadata',
});
const archived: Meaning = {
  code: 'E_PRECONDITION',
  why: 'the object is in an archive storage class and cannot be read at once',
  hint: 'aws s3api restore-object --bucket B --key K --restore-request Days=3, wait, and try again',
};
const conflict: Meaning = { code: 'E_STORE_CONFLICT', why: 'it exists already, or changed meanwhile' };
const raced: Meaning = {
  code: 'E_STORE_CONFLICT',
  why: 'another write was under way at the same moment',
  retryable: true,
};
const notThere: Reading = (_, where) => {
  if (OF_AN_OBJECT.includes(where.operation)) return { code: 'E_NOT_FOUND', why: 'it is not there' };
  // If-Match on a key that is gone.
  if (where.operation === 'put' || where.operation === 'complete') {
    return { code: 'E_STORE_CONFLICT', why: 'it is not there any more' };
  }
  return { code: 'E_STORE_BUCKET', why: 'the destination says not found', hint: 'check bucket, region and endpoint' };
};
const uploadGone: Meaning = {
  code: 'E_STORE_RESPONSE',
  why: 'the destination no longer knows the upload',
  hint: 'a lifecycle rule or another process has aborted it, or the endpoint leads to several stores; try again',
};
const notAllowed: Reading = (failure, where) =>
  // Amazon's answer to GET and HEAD of a delete marker by its version.
  where.operation === 'get' || where.operation === 'head'
    ? { code: 'E_NOT_FOUND', why: 'it is not there' }
    : unusable(failure);
const pastEnd: Meaning = { code: 'E_PRECONDITION', why: 'the range begins behind the end of the object' };
const notImplemented: Reading = (failure) => ({
  code: 'E_PRECONDITION',
  why: `the destination cannot do what was asked${quote(failure.message)}`,
  hint: 'this store does not know the request: switch `objectLock`, `sse`, `tags` or `checksum` off for it in the config',
});
const invalid: Reading = (failure, where) => {
  if (/object.?lock/i.test(failure.message)) {
    return { ...noObjectLock, why: `${noObjectLock.why}${quote(failure.message)}` };
  }
  if (/checksum|digest/i.test(failure.message)) return changed(failure, where);
  // A version that never was; a valid one that is gone is "not found" by name.
  if (/version ?id/i.test(failure.message)) return notThere(failure, where);
  return unusable(failure);
};
const timedOut: Meaning = {
  code: 'E_STORE_UNREACHABLE',
  why: 'no answer in time',
  hint: 'check the network to the endpoint',
};
const serverSideKey: Reading = (failure) => ({
  code: 'E_STORE_DENIED',
  why: `the key for the bucket's own encryption is not usable (${failure.name})`,
  hint: 'enable the KMS key of the bucket, or grant kms:GenerateDataKey and kms:Decrypt on it',
});

const BY_NAME = new Map<string, Entry>([
  ...names(bucketMissing, 'NoSuchBucket', 'InvalidBucketName'),
  ...names(bucketElsewhere, 'AuthorizationHeaderMalformed', 'IllegalLocationConstraintException'),
  ...names(bucketElsewhere, 'InvalidRegion', 'IncorrectEndpoint'),
  ...names(redirected, 'PermanentRedirect', 'TemporaryRedirect', 'Redirect'),
  ...names(
    denied,
    'AccessDenied',
    'AccessDeniedException',
    'AllAccessDisabled',
    'AccountProblem',
    'Forbidden',
    'UnauthorizedAccess',
    'NotSignedUp',
    'InvalidPayer',
  ),
  ...names(locked, 'ObjectLocked'),
  ...names(expired, 'ExpiredToken', 'ExpiredTokenException', 'TokenRefreshRequired', 'RequestExpired'),
  ...names(
    unknownKey,
    'InvalidAccessKeyId',
    'InvalidToken',
    'InvalidClientTokenId',
    'XAdminUserNotFound',
    'UnrecognizedClientException',
    'InvalidSecurity',
  ),
  ...names(wrongSignature, 'SignatureDoesNotMatch', 'InvalidSignatureException', 'InvalidSignature'),
  ...names(noCredentials, 'CredentialsProviderError', 'TokenProviderError', 'ProviderError'),
  ...names(skewed, 'RequestTimeTooSkewed', 'RequestInTheFuture'),
  ...names(
    slow,
    'SlowDown',
    'SlowDownRead',
    'SlowDownWrite',
    'Throttling',
    'ThrottlingException',
    'ThrottledException',
  ),
  ...names(
    slow,
    'TooManyRequests',
    'TooManyRequestsException',
    'RequestLimitExceeded',
    'RequestThrottled',
    'ServiceUnavailable',
  ),
  ...names(slow, 'BandwidthLimitExceeded', 'EC2ThrottledException', 'RequestThrottledException', 'Busy'),
  ...names(broken, 'InternalError', 'InternalServerError', 'InternalFailure'),
  ...names(
    changed,
    'BadDigest',
    'InvalidDigest',
    'XAmzContentSHA256Mismatch',
    'XAmzContentChecksumMismatch',
    'InvalidPart',
  ),
  ...names(changed, 'InvalidPartOrder', 'ContentSHA256Mismatch', 'ChecksumMismatch'),
  ...names(tooLarge, 'EntityTooLarge', 'EntityTooSmall', 'MaxMessageLengthExceeded'),
  ...names(headersTooLarge, 'MetadataTooLarge', 'KeyTooLongError', 'KeyTooLong', 'RequestHeaderSectionTooLarge'),
  ...names(full, 'QuotaExceeded', 'XMinioStorageFull', 'InsufficientCapacity', 'InsufficientStorage', 'StorageFull'),
  ...names(
    full,
    'XMinioAdminBucketQuotaExceeded',
    'BucketQuotaExceeded',
    'NoSpaceLeft',
    'ServiceQuotaExceededException',
  ),
  ...names(archived, 'InvalidObjectState', 'ObjectNotInActiveTierError'),
  ...names(conflict, 'PreconditionFailed'),
  ...names(raced, 'ConditionalRequestConflict', 'OperationAborted'),
  ...names(notThere, 'NoSuchKey', 'NotFound', 'NoSuchVersion'),
  ...names(uploadGone, 'NoSuchUpload'),
  ...names(notAllowed, 'MethodNotAllowed'),
  ...names(pastEnd, 'InvalidRange'),
  ...names(notImplemented, 'NotImplemented', 'InvalidStorageClass', 'InvalidEncryptionAlgorithmError', 'InvalidTag'),
  // Status 409, and nothing that passes by itself.
  ...names(notImplemented, 'InvalidBucketState'),
  ...names(invalid, 'InvalidRequest', 'InvalidArgument', 'InvalidRetentionPeriod'),
  ...names(noObjectLock, 'ObjectLockConfigurationNotFoundError'),
  ...names(timedOut, 'TimeoutError', 'RequestTimeout', 'RequestTimeoutException', 'IncompleteBody', 'AbortError'),
  ...names(timedOut, 'ConnectionClosedByRequester', 'ResponseInterrupted'),
]);

/** Every answer and exception that the table knows by its name. */
export const KNOWN_ANSWERS: readonly string[] = [...BY_NAME.keys()];

function tlsMeaning({ code = '', message, certificateNames }: Failure): Meaning | undefined {
  const fault = handshakeFault(code, message);
  if (fault === null) return undefined;
  const { says, hint } = explainHandshake(fault, 'destination');
  return {
    code: 'E_STORE_UNREACHABLE',
    why: `the TLS handshake fails: ${says} (${code})`,
    hint: certificateNames === undefined ? hint : `${hint}: ${certificateNames}`,
    retryable: false,
  };
}

function networkMeaning(code: string): Meaning | undefined {
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return {
      code: 'E_STORE_UNREACHABLE',
      why: `its name does not resolve (${code})`,
      hint: 'check endpoint, region and DNS',
    };
  }
  if (code === 'ECONNREFUSED') {
    return {
      code: 'E_STORE_UNREACHABLE',
      why: `connection refused (${code})`,
      hint: 'check the port of the endpoint, and that the service runs',
    };
  }
  if (/^(E[A-Z]+|UND_ERR_[A-Z_]+)$/.test(code)) {
    return {
      code: 'E_STORE_UNREACHABLE',
      why: `the connection broke (${code})`,
      hint: 'check the network to the endpoint',
    };
  }
  return undefined;
}

function byMessage(failure: Failure): Entry | undefined {
  // Names of the SDK's own stream checks: it throws a bare Error there.
  if (failure.message.startsWith('Checksum mismatch')) return changed;
  if (/^(Connection lost|aborted$|socket hang up)/.test(failure.message)) return timedOut;
  return undefined;
}

function byStatus(failure: Failure, where: Where): Entry {
  const code = failure.status ?? 0;
  if (code >= 300 && code < 400) return redirected;
  if (code === 401 || code === 403) return denied;
  if (code === 404) {
    // The bucket has just taken an upload: what is not there is its lock.
    if (where.operation === 'lock') return noObjectLock;
    return OF_AN_OBJECT.includes(where.operation) ? notThere : bucketMissing;
  }
  if (code === 405) return notAllowed;
  if (code === 408) return timedOut;
  if (code === 409) return raced;
  if (code === 412) return conflict;
  if (code === 416) return pastEnd;
  if (code === 429 || code === 503) return slow;
  if (code === 501) return notImplemented;
  if (code === 507) return full;
  if (code === 502 || code === 504) return gateway;
  if (code >= 500) return broken;
  if (code >= 400) return unusable;
  // No status: no S3 answer at all, for instance XML that does not parse.
  return (f) => ({ code: 'E_STORE_RESPONSE', why: `an answer that cannot be read${quote(f.message)}` });
}

function unusable(failure: Failure): Meaning {
  return {
    code: 'E_STORE_RESPONSE',
    why: `refused as ${failure.name}${status(failure)}${quote(failure.message)}`,
    hint: 'check endpoint, region and forcePathStyle of the destination',
    retryable: false,
  };
}

function names(entry: Entry, ...list: string[]): [string, Entry][] {
  return list.map((name) => [name, entry]);
}

function status(failure: Failure): string {
  return failure.status === undefined ? '' : ` (${failure.status})`;
}

/** What the server said, when it said something; one line, at most 300 characters. */
function quote(message: string): string {
  const line = message.replaceAll(/\s+/g, ' ').trim().slice(0, 300);
  return line === '' || line === 'UnknownError' ? '' : `: ${line}`;
}

function clocks(serverTime: string | undefined): string {
  const theirs = Date.parse(serverTime ?? '');
  if (Number.isNaN(theirs)) return '';
  const ours = Date.now();
  const minutes = Math.round(Math.abs(ours - theirs) / 60_000);
  return `: here ${new Date(ours).toISOString()}, there ${new Date(theirs).toISOString()}, ${minutes} min apart`;
}
