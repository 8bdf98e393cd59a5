/** What requests to S3 and KMS mean for a policy: which actions, on what, with which condition keys. */
import type { IncomingMessage } from 'node:http';
import { operationOf, type S3Call } from './failing-s3-operation.ts';
import type { KmsCall } from './kms-emulator.ts';
import type { AskedAction } from './policy-judge.ts';

export type S3Use = AskedAction & { accessKeyId: string };

/**
 * The actions of one request in path style, by Amazon's list of the permissions of each operation. `locks` = the bucket has
 * Object Lock: then a HEAD may be about the lock, too, which S3 shows only with a right of its own.
 */
export function s3Use(incoming: IncomingMessage, { locks }: { locks: boolean }): S3Use[] {
  const call = operationOf(incoming);
  const [, bucket = ''] = new URL(incoming.url ?? '/', 'http://s3').pathname.split('/');
  const accessKeyId = /Credential=([^/]+)\//.exec(incoming.headers.authorization ?? '')?.[1] ?? '';
  const resource = `arn:aws:s3:::${bucket}${call.key === '' ? '' : `/${call.key}`}`;
  const context = contextOf(call);
  return actionsOf(call, locks).map((action) => ({ accessKeyId, action, resource, context }));
}

function contextOf({ operation, query, headers }: S3Call): Record<string, string> {
  const prefix = query.get('prefix');
  const written = operation === 'put' || operation === 'complete';
  return {
    'aws:SecureTransport': 'false',
    ...(operation === 'list' && prefix !== null ? { 's3:prefix': prefix } : {}),
    ...(written || operation === 'create' || operation === 'part'
      ? { 's3:ObjectCreationOperation': String(written) }
      : {}),
    ...(headers['if-none-match'] === undefined ? {} : { 's3:if-none-match': headers['if-none-match'] }),
    ...(headers['if-match'] === undefined || !written ? {} : { 's3:if-match': headers['if-match'] }),
  };
}

function actionsOf(call: S3Call, locks: boolean): string[] {
  const { operation, query, headers } = call;
  const version = query.has('versionId') ? 'Version' : '';
  switch (operation) {
    case 'put':
    case 'create':
      return [
        's3:PutObject',
        ...(headers['x-amz-object-lock-mode'] === undefined ? [] : ['s3:PutObjectRetention']),
        ...(headers['x-amz-tagging'] === undefined ? [] : ['s3:PutObjectTagging']),
      ];
    case 'part':
    case 'complete':
      return ['s3:PutObject'];
    case 'abort':
      return ['s3:AbortMultipartUpload'];
    case 'head':
      return [`s3:GetObject${version}`, ...(locks ? ['s3:GetObjectRetention'] : [])];
    case 'get':
      return [`s3:GetObject${version}`];
    case 'delete':
      return [`s3:DeleteObject${version}`];
    case 'list':
      return ['s3:ListBucket'];
    case 'uploads':
      return ['s3:ListBucketMultipartUploads'];
    case 'head-bucket':
    case 'other':
      if (query.has('object-lock')) return ['s3:GetBucketObjectLockConfiguration'];
      throw new Error(`no action is known for this request: ${operation} ${call.key} ${query.toString()}`);
  }
}

/** The actions of one call to KMS; ReEncrypt is two, of the old key and of the new one. */
export function kmsUse({ operation, keyArn, context, signing }: KmsCall): AskedAction[] {
  const keys = Object.fromEntries(Object.entries(context ?? {}).map(([k, v]) => [`kms:EncryptionContext:${k}`, v]));
  const asked =
    signing === undefined ? {} : { 'kms:SigningAlgorithm': signing.algorithm, 'kms:MessageType': signing.messageType };
  const actions = operation === 'ReEncrypt' ? ['ReEncryptFrom', 'ReEncryptTo'] : [operation];
  return actions.map((action) => ({
    action: `kms:${action}`,
    resource: keyArn ?? '',
    context: { ...keys, ...asked },
  }));
}
