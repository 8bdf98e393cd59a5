/** What a request was for, in the words of a message. */

/** Each with what the role must be allowed. */
export const OPERATIONS = {
  put: { doing: 'storing', action: 's3:PutObject' },
  create: { doing: 'beginning the upload of', action: 's3:PutObject' },
  part: { doing: 'sending a part of', action: 's3:PutObject' },
  complete: { doing: 'completing the upload of', action: 's3:PutObject' },
  abort: { doing: 'aborting the upload of', action: 's3:AbortMultipartUpload' },
  head: { doing: 'looking for', action: 's3:GetObject' },
  get: { doing: 'reading', action: 's3:GetObject' },
  list: { doing: 'listing', action: 's3:ListBucket' },
  versions: { doing: 'listing the versions of', action: 's3:ListBucketVersions' },
  extend: { doing: 'extending the object lock of', action: 's3:PutObjectRetention' },
  uploads: { doing: 'listing unfinished uploads of', action: 's3:ListBucketMultipartUploads' },
  delete: { doing: 'deleting', action: 's3:DeleteObject' },
  hold: { doing: 'looking for the legal hold of', action: 's3:GetObjectLegalHold' },
  'set-hold': { doing: 'changing the legal hold of', action: 's3:PutObjectLegalHold' },
  lock: { doing: 'looking for the object lock of', action: 's3:GetBucketObjectLockConfiguration' },
  versioning: { doing: 'looking for the versioning of', action: 's3:GetBucketVersioning' },
  lifecycle: { doing: 'looking for the lifecycle rules of', action: 's3:GetLifecycleConfiguration' },
} as const;

export type Operation = keyof typeof OPERATIONS;

export type Where = {
  operation: Operation;
  /** the destination's name */
  destination: string;
  bucket: string;
  /** key or prefix, without the destination's own prefix */
  key: string;
  versionId?: string | undefined;
  /** permissions that the options of this request need besides that of the operation */
  alsoNeeds?: readonly string[] | undefined;
};

/** `storing "k" in destination "primary"`: the beginning of every message. */
export function phrase(where: Where): string {
  const what = where.key === '' ? 'the bucket' : `"${where.key}"`;
  return `${OPERATIONS[where.operation].doing} ${what} in destination "${where.destination}"`;
}

/** The permissions a request needs, such as `s3:PutObject and s3:PutObjectRetention`. */
export function permissions(where: Where): string {
  const action: string = OPERATIONS[where.operation].action;
  const versioned = where.versionId !== undefined && (action === 's3:GetObject' || action === 's3:DeleteObject');
  return [versioned ? `${action}Version` : action, ...(where.alsoNeeds ?? [])].join(' and ');
}
