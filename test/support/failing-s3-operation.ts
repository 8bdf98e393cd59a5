/** Which operation of S3 an HTTP request is. */
import type { IncomingMessage } from 'node:http';

export type S3Operation =
  | 'create'
  | 'part'
  | 'complete'
  | 'abort'
  | 'put'
  | 'head'
  | 'head-bucket'
  | 'get'
  | 'delete'
  | 'list'
  | 'uploads'
  | 'other';

export type S3Call = {
  operation: S3Operation;
  /** path without the bucket */
  key: string;
  query: URLSearchParams;
  headers: IncomingMessage['headers'];
};

/** For requests in path style: `/<bucket>/<key>`. */
export function operationOf(req: IncomingMessage): S3Call {
  const url = new URL(req.url ?? '/', 'http://s3');
  const [, , ...rest] = url.pathname.split('/');
  const key = decodeURIComponent(rest.join('/'));
  return {
    operation: name(req.method ?? 'GET', url.searchParams, key),
    key,
    query: url.searchParams,
    headers: req.headers,
  };
}

function name(method: string, query: URLSearchParams, key: string): S3Operation {
  const hasUpload = query.has('uploadId');
  if (method === 'POST' && query.has('uploads')) return 'create';
  if (method === 'POST' && hasUpload) return 'complete';
  if (method === 'PUT' && hasUpload) return 'part';
  if (method === 'DELETE' && hasUpload) return 'abort';
  if (method === 'PUT' && key !== '') return 'put';
  if (method === 'DELETE' && key !== '') return 'delete';
  if (method === 'HEAD') return key === '' ? 'head-bucket' : 'head';
  if (method === 'GET' && key !== '') return 'get';
  if (method === 'GET' && query.has('list-type')) return 'list';
  if (method === 'GET' && query.has('uploads')) return 'uploads';
  return 'other';
}
