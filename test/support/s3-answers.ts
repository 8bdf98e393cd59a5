/** What S3 and its likes may answer, and what it must become. Amazon's list of error codes, and what other stores add to it. */
import type { ErrorCode } from '../../src/core/errors.ts';

export type S3Answer = {
  code: string;
  status: number;
  message?: string;
  becomes: ErrorCode;
  /** is it worth another try, as the error says of itself? */
  retryable: boolean;
  /** of the message or the hint */
  says: RegExp;
};

const row = (status: number, becomes: ErrorCode, retryable: boolean, says: RegExp, ...codes: string[]): S3Answer[] =>
  codes.map((code) => ({ code, status, becomes, retryable, says }));
const elsewhere = /in another region/;
const redirect = /redirect \(30[17]\), which is never followed/;
const denied = /grant s3:/;
const slow = /asked to slow down/;

/** Answers that mean the same to every request; those that depend on what was asked for are in the tests. */
export const ANSWERS: readonly S3Answer[] = [
  ...row(404, 'E_STORE_BUCKET', false, /there is no bucket/, 'NoSuchBucket'),
  ...row(400, 'E_STORE_BUCKET', false, /there is no bucket/, 'InvalidBucketName'),
  ...row(301, 'E_STORE_BUCKET', false, redirect, 'PermanentRedirect'),
  ...row(307, 'E_STORE_BUCKET', false, redirect, 'TemporaryRedirect', 'Redirect'),
  ...row(400, 'E_STORE_BUCKET', false, elsewhere, 'AuthorizationHeaderMalformed', 'IllegalLocationConstraintException'),
  ...row(400, 'E_STORE_BUCKET', false, elsewhere, 'IncorrectEndpoint'),
  ...row(403, 'E_STORE_BUCKET', false, elsewhere, 'InvalidRegion'),
  ...row(403, 'E_STORE_DENIED', false, denied, 'AccessDenied', 'AccessDeniedException', 'AllAccessDisabled'),
  ...row(403, 'E_STORE_DENIED', false, denied, 'AccountProblem', 'Forbidden', 'UnauthorizedAccess', 'NotSignedUp'),
  ...row(403, 'E_STORE_DENIED', false, denied, 'InvalidPayer', 'UnexpectedIPError', 'MissingAuthenticationToken'),
  ...row(403, 'E_STORE_LOCKED', false, /object lock forbids/, 'ObjectLocked'),
  ...row(400, 'E_STORE_DENIED', false, /have expired/, 'ExpiredToken', 'ExpiredTokenException', 'TokenRefreshRequired'),
  ...row(400, 'E_STORE_DENIED', false, /have expired/, 'RequestExpired'),
  ...row(
    403,
    'E_STORE_DENIED',
    false,
    /not known there/,
    'InvalidAccessKeyId',
    'InvalidSecurity',
    'XAdminUserNotFound',
  ),
  ...row(400, 'E_STORE_DENIED', false, /not known there/, 'InvalidToken', 'InvalidClientTokenId'),
  ...row(400, 'E_STORE_DENIED', false, /not known there/, 'UnrecognizedClientException'),
  ...row(403, 'E_STORE_DENIED', false, /signature does not fit/, 'SignatureDoesNotMatch', 'InvalidSignatureException'),
  ...row(400, 'E_STORE_DENIED', false, /signature does not fit/, 'InvalidSignature'),
  ...row(400, 'E_STORE_DENIED', false, /enable the KMS key/, 'KMS.DisabledException', 'KMS.InvalidStateException'),
  ...row(400, 'E_STORE_DENIED', false, /enable the KMS key/, 'KMS.NotFoundException', 'KMS.InvalidKeyUsageException'),
  ...row(403, 'E_STORE_SKEW', false, /clocks differ/, 'RequestTimeTooSkewed', 'RequestInTheFuture'),
  ...row(503, 'E_STORE_THROTTLED', true, slow, 'SlowDown', 'SlowDownRead', 'SlowDownWrite', 'ServiceUnavailable'),
  ...row(503, 'E_STORE_THROTTLED', true, slow, 'RequestLimitExceeded', 'Busy', 'BandwidthLimitExceeded'),
  ...row(400, 'E_STORE_THROTTLED', true, slow, 'Throttling', 'ThrottlingException', 'ThrottledException'),
  ...row(
    400,
    'E_STORE_THROTTLED',
    true,
    slow,
    'RequestThrottled',
    'RequestThrottledException',
    'EC2ThrottledException',
  ),
  ...row(429, 'E_STORE_THROTTLED', true, slow, 'TooManyRequests', 'TooManyRequestsException'),
  ...row(500, 'E_STORE_RESPONSE', true, /error inside/, 'InternalError', 'InternalServerError', 'InternalFailure'),
  ...row(400, 'E_STORE_CHECKSUM', true, /does not fit its checksum/, 'BadDigest', 'InvalidDigest', 'ChecksumMismatch'),
  ...row(400, 'E_STORE_CHECKSUM', true, /does not fit its checksum/, 'XAmzContentSHA256Mismatch', 'InvalidPart'),
  ...row(400, 'E_STORE_CHECKSUM', true, /does not fit its checksum/, 'XAmzContentChecksumMismatch', 'InvalidPartOrder'),
  ...row(400, 'E_STORE_CHECKSUM', true, /does not fit its checksum/, 'ContentSHA256Mismatch'),
  ...row(400, 'E_PRECONDITION', false, /refuses the size/, 'EntityTooLarge', 'EntityTooSmall'),
  ...row(400, 'E_PRECONDITION', false, /refuses the size/, 'MaxMessageLengthExceeded'),
  ...row(400, 'E_PRECONDITION', false, /length of the key or/, 'MetadataTooLarge', 'KeyTooLongError', 'KeyTooLong'),
  ...row(400, 'E_PRECONDITION', false, /length of the key or/, 'RequestHeaderSectionTooLarge'),
  ...row(
    403,
    'E_STORE_FULL',
    false,
    /no room/,
    'QuotaExceeded',
    'BucketQuotaExceeded',
    'ServiceQuotaExceededException',
  ),
  ...row(400, 'E_STORE_FULL', false, /no room/, 'XMinioAdminBucketQuotaExceeded'),
  ...row(507, 'E_STORE_FULL', false, /no room/, 'XMinioStorageFull', 'InsufficientCapacity', 'InsufficientStorage'),
  ...row(507, 'E_STORE_FULL', false, /no room/, 'StorageFull', 'NoSpaceLeft'),
  ...row(403, 'E_PRECONDITION', false, /restore-object/, 'InvalidObjectState', 'ObjectNotInActiveTierError'),
  ...row(412, 'E_STORE_CONFLICT', false, /exists already, or changed/, 'PreconditionFailed'),
  ...row(409, 'E_STORE_CONFLICT', true, /at the same moment/, 'ConditionalRequestConflict', 'OperationAborted'),
  ...row(404, 'E_STORE_RESPONSE', true, /no longer knows the upload/, 'NoSuchUpload'),
  ...row(416, 'E_PRECONDITION', false, /behind the end/, 'InvalidRange'),
  ...row(501, 'E_PRECONDITION', false, /switch `objectLock`/, 'NotImplemented'),
  ...row(400, 'E_PRECONDITION', false, /switch `objectLock`/, 'InvalidStorageClass', 'InvalidTag'),
  ...row(400, 'E_PRECONDITION', false, /switch `objectLock`/, 'InvalidEncryptionAlgorithmError'),
  ...row(409, 'E_PRECONDITION', false, /switch `objectLock`/, 'InvalidBucketState'),
  ...row(404, 'E_PRECONDITION', false, /no object lock/, 'ObjectLockConfigurationNotFoundError'),
  ...row(400, 'E_STORE_RESPONSE', false, /refused as InvalidRe/, 'InvalidRequest', 'InvalidRetentionPeriod'),
  ...row(400, 'E_STORE_RESPONSE', false, /refused as InvalidArgument/, 'InvalidArgument'),
  {
    ...one('InvalidRequest', 400),
    message: 'Bucket is missing Object Lock Configuration',
    says: /no object lock/,
  },
  { ...one('InvalidArgument', 400), message: 'Object Lock retention must be in the future', says: /no object lock/ },
  ...row(400, 'E_STORE_UNREACHABLE', true, /no answer in time/, 'RequestTimeout', 'RequestTimeoutException'),
  ...row(400, 'E_STORE_UNREACHABLE', true, /no answer in time/, 'IncompleteBody', 'ConnectionClosedByRequester'),
  ...row(400, 'E_STORE_UNREACHABLE', true, /no answer in time/, 'ResponseInterrupted'),
  // What nobody names: the status decides.
  ...row(400, 'E_STORE_RESPONSE', false, /refused as MalformedXML/, 'MalformedXML'),
  ...row(411, 'E_STORE_RESPONSE', false, /refused as MissingContentLength/, 'MissingContentLength'),
  ...row(502, 'E_STORE_UNREACHABLE', true, /behind its gateway/, 'BadGateway'),
  ...row(504, 'E_STORE_UNREACHABLE', true, /behind its gateway/, 'GatewayTimeout'),
  ...row(503, 'E_STORE_THROTTLED', true, slow, 'Overloaded'),
  ...row(500, 'E_STORE_RESPONSE', true, /error inside/, 'Whatever'),
];

/** Names that no server answers with: the SDK throws them by itself. */
export const OWN_NAMES = [
  'CredentialsProviderError',
  'TokenProviderError',
  'ProviderError',
  'TimeoutError',
  'AbortError',
];
/** Names whose meaning is another one for each request. */
export const BY_REQUEST = ['NoSuchKey', 'NotFound', 'NoSuchVersion', 'MethodNotAllowed'];

function one(code: string, status: number): Omit<S3Answer, 'says'> {
  return { code, status, becomes: 'E_PRECONDITION', retryable: false };
}
