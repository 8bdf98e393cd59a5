/** Restores that are watched or meant to be refused: plain archives, and what tells that nothing was installed. */
import { gunzipSync } from 'node:zlib';
import { encodeGzip, encodeTar, type TestMember } from './archive-builder.ts';
import type { BaoNode } from './bao-node.ts';
import { type HttpAnswer, http } from './http-json.ts';
import { until } from './until.ts';

export const SNAPSHOT = 'sys/storage/raft/snapshot';
const TAR_BLOCK = 512;

/** The archive as `curl` would get it. */
export async function plainSnapshot(node: BaoNode, token: string): Promise<Buffer> {
  return (await node.call('GET', SNAPSHOT, { token, timeoutMs: 60_000 })).body;
}

/** What `curl` would do to install it; the answer, whatever it is. */
export async function plainInstall(
  url: string,
  token: string,
  archive: Uint8Array,
  endpoint: 'snapshot' | 'snapshot-force' = 'snapshot-force',
): Promise<HttpAnswer> {
  const path = `/v1/sys/storage/raft/${endpoint}`;
  return await http(`${url}${path}`, {
    method: 'POST',
    headers: { 'x-vault-token': token },
    body: archive,
    timeoutMs: 60_000,
  });
}

/** The members of a real archive, in its order. */
export function membersOf(archive: Uint8Array): TestMember[] {
  const tar = gunzipSync(archive);
  const members: TestMember[] = [];
  for (let at = 0; tar[at] !== 0 && at < tar.length; ) {
    const name = tar.toString('latin1', at, at + 100).replace(/\0.*$/s, '');
    const bytes = Number.parseInt(tar.toString('latin1', at + 124, at + 135), 8);
    const start = at + TAR_BLOCK;
    members.push({ name, content: tar.subarray(start, start + bytes) });
    at = start + Math.ceil(bytes / TAR_BLOCK) * TAR_BLOCK;
  }
  return members;
}

/** The same snapshot as a sanitising tool leaves it: nothing in it is sealed by its cluster any more. */
export function withoutSealedSums(archive: Uint8Array): Buffer {
  return encodeGzip(encodeTar(membersOf(archive).filter(({ name }) => name !== 'SHA256SUMS.sealed')));
}

/** How often this server has begun to apply a snapshot that was handed to it. */
export async function installsOn(node: BaoNode): Promise<number> {
  return [...(await node.log()).matchAll(/shutting down prior to restoring snapshot/g)].length;
}

/** A value of a KV v1 mount, or the status that came in its place. */
export async function valueAt(node: BaoNode, token: string, path: string): Promise<unknown> {
  const { status, json } = await node.request('GET', path, { token });
  if (status !== 200) return status;
  return (json as { data: { value: unknown } }).data.value;
}

/** Waits until the value is read, however long the server takes to apply what it has accepted. */
export async function waitValue(node: BaoNode, token: string, path: string, value: unknown): Promise<void> {
  await until(`${path} reads ${String(value)}`, async () =>
    (await valueAt(node, token, path)) === value ? true : undefined,
  );
}
