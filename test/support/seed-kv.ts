/** Seeded secrets: KV version 1, and version 2 with old versions, metadata and a deletion. */
import { randomBytes } from 'node:crypto';
import { compare, get, pick, put, putWhenReady, type SeedPart } from './seed-part.ts';

type Entries = { path: string; data: Record<string, string> }[];

const KV1 = 'seed-kv1';
const KV2 = 'seed-kv2';

export const kv1: SeedPart<Entries> = {
  async write(context) {
    await put(context, `sys/mounts/${KV1}`, { type: 'kv', options: { version: '1' } });
    const entries = ['app/db', 'app/api', 'ops/ünïcode', 'deep/er/and/deeper'].map((path) => ({
      path,
      data: { password: randomBytes(18).toString('base64'), note: 'zwei\nZeilen' },
    }));
    for (const { path, data } of entries) await put(context, `${KV1}/${encodeURI(path)}`, data);
    return entries;
  },
  async verify(context, entries) {
    const found: string[] = [];
    for (const { path, data } of entries)
      found.push(...(await compare(context, `${KV1}/${encodeURI(path)}`, ['data'], data)));
    return found;
  },
};

type Versions = {
  path: string;
  /** data by version, from 1; `null` is deleted */
  versions: (Record<string, string> | null)[];
  owner: string;
}[];

export const kv2: SeedPart<Versions> = {
  async write(context) {
    await put(context, `sys/mounts/${KV2}`, { type: 'kv', options: { version: '2' } });
    const secrets: Versions = [];
    for (const [path, count, deleted] of [
      ['app/token', 3, 2],
      ['app/single', 1, 0],
    ] as const) {
      const versions: Versions[number]['versions'] = [];
      for (let version = 1; version <= count; version += 1) {
        const data = { version: String(version), value: randomBytes(18).toString('base64') };
        await putWhenReady(context, `${KV2}/data/${path}`, { data });
        versions.push(data);
      }
      await put(context, `${KV2}/metadata/${path}`, { max_versions: 7, custom_metadata: { owner: 'team-a' } });
      if (deleted > 0) {
        await put(context, `${KV2}/delete/${path}`, { versions: [deleted] });
        versions[deleted - 1] = null;
      }
      secrets.push({ path, versions, owner: 'team-a' });
    }
    return secrets;
  },
  async verify(context, secrets) {
    const found: string[] = [];
    for (const { path, versions, owner } of secrets) {
      for (const [i, data] of versions.entries()) {
        const at = `${KV2}/data/${path}?version=${i + 1}`;
        if (data === null) {
          const { status } = await get(context, at);
          // 404 with metadata: deleted, not gone.
          if (status !== 404) found.push(`${at} answers ${status}, but was deleted`);
        } else {
          found.push(...(await compare(context, at, ['data', 'data'], data)));
        }
      }
      const metadata = `${KV2}/metadata/${path}`;
      found.push(...(await compare(context, metadata, ['data', 'custom_metadata'], { owner })));
      found.push(...(await compare(context, metadata, ['data', 'current_version'], versions.length)));
      const { json } = await get(context, metadata);
      const kept = pick(json, ['data', 'versions']);
      if (typeof kept !== 'object' || kept === null || Object.keys(kept).length !== versions.length) {
        found.push(`${metadata} does not list ${versions.length} versions`);
      }
    }
    return found;
  },
};
