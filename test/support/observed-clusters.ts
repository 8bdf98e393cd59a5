/** Clusters whose backups are in directories, and the config that `check` and `serve` read them by. Nothing else is there. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { generateBreakGlass } from '../../src/crypt/generate.ts';
import { DESTINATIONS, type Scene } from '../unit/observe/scene.ts';

export type ObservedOptions = {
  /** top-level blocks */
  top?: Record<string, unknown>;
  /** of each cluster */
  cluster?: Record<string, unknown>;
};

/** Writes a config for `scene` and further clusters in the same directories; gives its path. */
export async function observedConfig(
  scene: Scene,
  { top = {}, cluster = {} }: ObservedOptions = {},
  more: Readonly<Record<string, Record<string, unknown>>> = {},
): Promise<string> {
  await writeFile(join(scene.root, 'signing.pem'), scene.privateKey.reveal(), { mode: 0o600 });
  const { recipient } = await generateBreakGlass();
  const block = (change: Record<string, unknown>) => ({
    nodes: ['https://127.0.0.1:1'],
    auth: { method: 'token', token: 'env:NO_TOKEN' },
    destinations: [...DESTINATIONS],
    ...change,
  });
  const config = {
    version: 1,
    log: { level: 'warn' },
    destinations: Object.fromEntries(
      DESTINATIONS.map((name) => [name, { type: 'directory', path: join(scene.root, name) }]),
    ),
    encryption: { kms: [], minKmsWraps: 0, declineKms: 'there is no KMS in this trial', breakGlass: [recipient] },
    signing: { key: 'file:signing.pem' },
    clusters: {
      [scene.cluster]: block(cluster),
      ...Object.fromEntries(Object.entries(more).map(([name, change]) => [name, block(change)])),
    },
    ...top,
  };
  const path = join(scene.root, 'strongroom.yaml');
  await writeFile(path, stringify(config));
  return path;
}
