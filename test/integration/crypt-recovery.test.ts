/** The recovery page, executed word by word by a shell that has standard programs and nothing of ours. */
import { randomBytes } from 'node:crypto';
import { access, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { KMSClient } from '@aws-sdk/client-kms';
import { execa } from 'execa';
import { ulid } from 'ulid';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ensureJq, ensureTool } from '../../scripts/tools.ts';
import { parseClusterName, parseSnapshotId } from '../../src/core/ids.ts';
import { newContainer } from '../../src/crypt/container.ts';
import {
  type BreakGlassKey,
  generateBreakGlass,
  generateSigningKey,
  writeSecretFile,
} from '../../src/crypt/generate.ts';
import { wrapIdentity } from '../../src/crypt/keyring.ts';
import { KmsKey } from '../../src/crypt/kms.ts';
import { kmsClientOptions } from '../../src/crypt/kms-call.ts';
import { type RecoveryPage, recoveryPage } from '../../src/crypt/recovery-page.ts';
import { rewrapSidecar } from '../../src/crypt/rewrap.ts';
import { type Sidecar, serialiseSidecar } from '../../src/crypt/sidecar.ts';
import { localSigner } from '../../src/crypt/sign.ts';
import { wrapsToMetadata } from '../../src/crypt/wrap-metadata.ts';
import { FileStore } from '../../src/store/file.ts';
import { objectKey } from '../../src/store/layout.ts';
import { bufferBody, compositeSha256 } from '../../src/store/parts.ts';
import type { Store } from '../../src/store/store.ts';
import { type KmsEmulator, startKms } from '../support/kms-emulator.ts';
import { openS3Store } from '../support/s3-store.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { released } from '../unit/crypt/bytes.ts';

const PROGRAMS = ['sh', 'openssl', 'base64', 'split', 'find', 'sort', 'tail', 'cp', 'cmp', 'cat', 'wc', 'dirname'];
const PART = 5 * 2 ** 20;
const signal = new AbortController().signal;
const cluster = parseClusterName('prod-eu-1');
const plain = randomBytes(11_000_000);

let kms: KmsEmulator;
let tools: string;
let clients: KMSClient[] = [];
let keys: KmsKey[];
let old: BreakGlassKey;
let young: BreakGlassKey;
const signing = generateSigningKey();
const elsewhere = generateSigningKey();

beforeAll(async () => {
  kms = await startKms();
  tools = await mkdtemp(join(tmpdir(), 'strongroom-tools-'));
  const ours = [ensureTool('age'), ensureTool('age-keygen'), ensureTool('aws'), ensureJq()];
  const names = ['age', 'age-keygen', 'aws', 'jq'];
  for (const [index, path] of (await Promise.all(ours)).entries()) {
    // Not a link: such a program may look for its parts beside itself.
    await writeFile(join(tools, names[index] ?? ''), `#!/bin/sh\nexec '${path}' "$@"\n`, { mode: 0o755 });
  }
  for (const name of PROGRAMS) await symlink(await onPath(name), join(tools, name));
  keys = ['eu-central-1', 'eu-west-1'].map((region) => {
    const credentials = { accessKeyId: 'root', secretAccessKey: 'x' };
    const client = new KMSClient({ ...kmsClientOptions(region), endpoint: kms.url, credentials });
    clients.push(client);
    return new KmsKey({ client, keyId: kms.createKey({ region }), region });
  });
  [old, young] = [await generateBreakGlass(), await generateBreakGlass()];
});
afterAll(async () => {
  for (const client of clients) client.destroy();
  clients = [];
  await kms.stop();
  await rm(tools, { recursive: true });
});

type Place = AsyncDisposable & { store: Store; location: RecoveryPage['location']; env: Record<string, string> };

const places: [string, () => Promise<Place>][] = [
  [
    'an S3 bucket',
    async () => {
      const server = await sharedServer('versitygw');
      const opened = await openS3Store(server, { versioning: true });
      return {
        store: opened.store,
        location: {
          type: 's3',
          bucket: opened.bucket,
          region: server.region,
          root: 'backups/v1',
          endpoint: server.endpoint,
        },
        env: { AWS_ACCESS_KEY_ID: server.accessKeyId, AWS_SECRET_ACCESS_KEY: server.secretAccessKey },
        [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
      };
    },
  ],
  [
    'a directory with an awkward name',
    async () => {
      const directory = await mkdtemp(join(tmpdir(), "strong room's $HOME "));
      const store = new FileStore({ name: 'dir', directory });
      return {
        store,
        location: { type: 'directory', root: join(directory, 'v1') },
        env: { AWS_ACCESS_KEY_ID: 'root', AWS_SECRET_ACCESS_KEY: 'x' },
        async [Symbol.asyncDispose]() {
          await store[Symbol.asyncDispose]();
          await rm(directory, { recursive: true });
        },
      };
    },
  ],
];

describe.each(places)('the recovery page for %s', (name, open) => {
  let place: Place;
  let page: RecoveryPage;
  let manifestKey: string;
  let folder: string;

  beforeAll(async () => {
    place = await open();
    await store(place.store, new Date('2026-11-20T01:30:00Z'));
    manifestKey = await store(place.store, new Date('2026-11-22T01:30:00Z'));
    page = {
      cluster,
      location: place.location,
      breakGlass: [old.recipient],
      kms: keys.map(({ keyId, region }) => ({ keyId, region })),
      signingPublicKeys: [elsewhere.publicKeyPem, signing.publicKeyPem],
      now: new Date(),
    };
  });
  afterAll(() => place[Symbol.asyncDispose]());
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'strongroom-recovery-'));
    return () => rm(folder, { recursive: true });
  });

  const ways = (): string[] =>
    blocks(page)
      .map((b) => b.name)
      .filter((name) => /^(?:kms|lost|break)/.test(name));

  it('finds the newest snapshot, proves it, and opens it by every way it names', async () => {
    const expected = place.location.type === 's3' ? 6 : 4;
    expect(ways()).toHaveLength(expected);
    await writeSecretFile(join(folder, 'breakglass.txt'), old.file);
    const { stdout } = await shell(page, ['find', 'fetch', 'signature', 'whole']);
    const base = basename(manifestKey, '.json');
    for (const said of [base, 'Verified OK', 'true\n', 'same file']) expect(stdout).toContain(said);
    const snap = join(folder, `${base}.snap`);
    for (const way of ways()) {
      // The page written for one snapshot: its `find` asks nobody.
      const opened = await shell({ ...page, manifestKey }, ['find', way, 'plain']);
      expect(opened.stdout).toContain('whole snapshot');
      expect((await readFile(snap)).equals(plain), way).toBe(true);
      await rm(snap);
    }
    expect((await readFile(join(folder, 'wrap.bin'))).toString('latin1')).not.toContain('AGE-SECRET-KEY');
  });

  // The rest does not ask the store more than this did, and each start of the AWS command line takes seconds.
  if (name.startsWith('an S3')) return;

  it('opens the very snapshot that it was written for', async () => {
    await writeSecretFile(join(folder, 'breakglass.txt'), old.file);
    const olderKey = await store(place.store, new Date('2026-11-19T01:30:00Z'));
    const all = ['find', 'fetch', 'signature', 'break-glass', 'plain'];
    const { stdout } = await shell({ ...page, manifestKey: olderKey }, all);
    expect(stdout).toContain(basename(olderKey, '.json'));
  });

  it('opens with a break-glass identity made after the snapshot, by its wrap', async () => {
    await writeSecretFile(join(folder, 'breakglass.txt'), young.file);
    await expect(shell(page, ['find', 'fetch', 'break-glass'])).rejects.toThrow(/no identity matched/);
    const rewrapped = await store(place.store, new Date('2026-11-21T01:30:00Z'), [young.recipient]);
    const { stdout } = await shell({ ...page, manifestKey: rewrapped }, ['find', 'fetch', 'break-glass-wrap', 'plain']);
    expect(stdout).toContain('whole snapshot');
  });

  it('fails at its openssl line when the manifest was tampered with, and behind it for that of another snapshot', async () => {
    const older = await store(place.store, new Date('2026-11-18T01:30:00Z'));
    const tampered = shell(page, ['find', 'fetch', 'signature'], 'printf x >> "$N.json"');
    await expect(tampered).rejects.toThrow(/Verification failure\nVerification failure/i);
    await shell({ ...page, manifestKey: older }, ['find', 'fetch']);
    const N = basename(older, '.json');
    const swap = `cp ${N}.json "$N.json"; cp ${N}.json.sig "$N.json.sig"`;
    await expect(shell(page, ['find', 'fetch', 'signature'], swap)).rejects.toThrow(/Verified OK\nfalse/);
    const planted = shell(page, ['find', 'fetch', 'whole'], 'printf x >> "$N.snap.age"');
    await expect(planted).rejects.toThrow(/differ/);
  });

  it('fails, and leaves no whole snapshot, with a disabled key or a wrong context', async () => {
    const keyId = keys[0]?.keyId ?? '';
    kms.disableKey(keyId);
    try {
      await expect(shell(page, ['find', 'fetch', 'kms-1', 'plain'])).rejects.toThrow(/DisabledException/);
      expect((await shell(page, ['find', 'fetch', 'kms-2', 'plain'])).stdout).toContain('whole snapshot');
    } finally {
      kms.enableKey(keyId);
    }
    const wrong = shell(page, ['find', 'fetch', 'kms-1'], 'CLUSTER=stage-eu-1');
    await expect(wrong).rejects.toThrow(/InvalidCiphertextException/);
  });

  /** Runs blocks of the page in one shell; `before` is what somebody did to the files before the last block. */
  async function shell(of: RecoveryPage, names: string[], before = ''): Promise<{ stdout: string }> {
    const all = blocks(of);
    const script = names.map((name) => all.find((block) => block.name === name)?.script ?? `no block ${name}`);
    const text = [...script.slice(0, -1), before, script.at(-1) ?? ''].join('\n');
    return await execa('sh', ['-e', '-c', text], {
      cwd: folder,
      env: {
        ...place.env,
        PATH: tools,
        HOME: folder,
        AWS_ENDPOINT_URL_KMS: kms.url,
        AWS_EC2_METADATA_DISABLED: 'true',
      },
      extendEnv: false,
      all: true,
    });
  }
});

/** What backup leaves in a store, written here without it: the contract of layout, manifest and sidecar that the page has. */
async function store(to: Store, time: Date, rewrapFor?: string[]): Promise<string> {
  const snapshot = parseSnapshotId(ulid(time.getTime()));
  if (snapshot === null) throw new Error('not a snapshot id');
  const context = { cluster, snapshot };
  const container = await newContainer([old.recipient]);
  const { bytes } = await released(
    container.encrypt(
      (async function* () {
        yield plain;
      })(),
    ),
  );
  const options = { kms: keys, breakGlass: [old.recipient], policy: {}, now: time };
  let sidecar: Sidecar = await wrapIdentity(container.identity, context, options, signal);
  if (rewrapFor !== undefined) {
    const wanted = { kms: keys, breakGlass: rewrapFor };
    const openers = { kms: keys, identities: [] };
    ({ sidecar } = await rewrapSidecar(sidecar, { wanted, openers, policy: {}, now: time }, signal));
  }
  const body = bufferBody(bytes, PART);
  const manifest = Buffer.from(
    `${JSON.stringify({
      schema: '1',
      ...context,
      archive: { bytes: plain.byteLength },
      ciphertext: {
        partSize: PART,
        sha256Composite: compositeSha256(body.partSha256),
        headerSha256: container.headerSha256,
      },
      signer: { keyId: signing.keyId, alg: 'ECDSA_P256_SHA256' },
    })}\n`,
  );
  const put = { signal, condition: 'absent', contentType: 'application/octet-stream' } as const;
  await to.put(objectKey(cluster, 'keys', snapshot), serialiseSidecar(sidecar), put);
  await to.put(objectKey(cluster, 'data', snapshot), body, { ...put, metadata: wrapsToMetadata(sidecar) });
  const signature = await localSigner(signing.privateKeyPem).sign(manifest, signal);
  await to.put(objectKey(cluster, 'sigs', snapshot), signature, put);
  const key = objectKey(cluster, 'manifests', snapshot);
  await to.put(key, manifest, put);
  return key;
}

function blocks(page: RecoveryPage): { name: string; script: string }[] {
  return [...recoveryPage(page).matchAll(/^```sh run=(\S+)\n(.*?)^```$/gms)].map(([, name = '', script = '']) => ({
    name,
    script,
  }));
}

async function onPath(name: string): Promise<string> {
  for (const directory of (process.env['PATH'] ?? '').split(':')) {
    const path = join(directory, name);
    if (
      await access(path).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  throw new Error(`no ${name} on PATH`);
}
