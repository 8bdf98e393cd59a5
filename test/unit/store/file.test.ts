import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { collect } from '../../../src/core/flow.ts';
import { FileStore } from '../../../src/store/file.ts';
import { withFileLock } from '../../../src/store/file-lock.ts';
import { openTmp, publishNew, removeTmp } from '../../../src/store/file-write.ts';
import type { ObjectKey } from '../../../src/store/layout.ts';
import { bufferBody } from '../../../src/store/parts.ts';
import type { PutOptions } from '../../../src/store/store.ts';

const never = new AbortController().signal;
const key = 'v1/prod/data/x.snap.age' as ObjectKey;
const putOptions = (more: Partial<PutOptions> = {}): PutOptions => ({
  signal: never,
  condition: 'absent',
  contentType: 'text/plain',
  ...more,
});

let directory: string;
let store: FileStore;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'strongroom-file-'));
  store = new FileStore({ name: 'usb', directory });
});
afterEach(() => rm(directory, { recursive: true }));

const filesBelow = async (path: string) =>
  (await readdir(path, { recursive: true, withFileTypes: true }).catch(() => []))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));

test('an object that another writer replaced at once is not given out as ours', async () => {
  const other = new FileStore({ name: 'usb', directory });
  const { etag } = await other.put(key, Buffer.from('one'), putOptions());
  class Paused extends FileStore {
    override async head(...args: Parameters<FileStore['head']>): ReturnType<FileStore['head']> {
      const ours = await super.head(...args);
      await other.put(key, Buffer.from('theirs'), putOptions({ condition: { etag: ours?.etag ?? '' } }));
      return await super.head(...args);
    }
  }
  const paused = new Paused({ name: 'usb', directory });
  await expect(paused.put(key, Buffer.from('ours'), putOptions({ condition: { etag } }))).rejects.toMatchObject({
    code: 'E_STORE_CONFLICT',
  });
  expect((await readFile(join(directory, key))).toString()).toBe('theirs');
});

describe('what lies on the disk', () => {
  test('is the object itself, readable without us, and no temporary file or folder', async () => {
    const bytes = randomBytes(3000);
    await store.put(key, bufferBody(bytes, 1000), putOptions());
    expect((await readFile(join(directory, key))).equals(bytes)).toBe(true);
    expect(await readdir(join(directory, '.strongroom', 'tmp'))).toEqual([]);
    expect(await filesBelow(join(directory, '.strongroom', 'lock'))).toEqual([]);
  });

  test('survives a copy of the tree, with its composite checksum and metadata', async () => {
    const stored = await store.put(key, bufferBody(randomBytes(3000), 1000), putOptions({ metadata: { a: 'b' } }));
    const copy = await mkdtemp(join(tmpdir(), 'strongroom-copy-'));
    try {
      await cp(directory, copy, { recursive: true });
      const found = await new FileStore({ name: 'copy', directory: copy }).head(key, { signal: never });
      expect(found).toMatchObject({ bytes: 3000, etag: stored.etag, sha256: stored.sha256, metadata: { a: 'b' } });
    } finally {
      await rm(copy, { recursive: true });
    }
  });

  test('may have come there by hand: then it is hashed', async () => {
    await mkdir(join(directory, 'v1'));
    await writeFile(join(directory, 'v1', 'README.md'), 'hello');
    const found = await store.head('v1/README.md' as ObjectKey, { signal: never });
    expect(found).toMatchObject({ bytes: 5, sha256: createHash('sha256').update('hello').digest('base64') });
  });

  test.each(['not json', '{"v":2}', '{"v":1,"bytes":999,"etag":"x","sha256":"y","contentType":"z"}'])(
    'a meta file that does not fit is not believed: %s',
    async (text) => {
      const stored = await store.put(key, Buffer.from('hello'), putOptions());
      await writeFile(join(directory, '.strongroom', 'meta', key), text);
      expect(await store.head(key, { signal: never })).toMatchObject({ bytes: 5, etag: stored.etag });
    },
  );
});

describe('keys', () => {
  test.each([
    '../x',
    'a/../../x',
    'a//b',
    '/etc/passwd',
    'a/.',
    '',
    'a\0b',
    '.strongroom/meta/x',
    `${'x'.repeat(256)}`,
  ])('%j is refused everywhere', async (bad) => {
    const at = bad as ObjectKey;
    const refusal = { code: 'E_PRECONDITION' };
    await expect(store.put(at, Buffer.from('x'), putOptions())).rejects.toMatchObject(refusal);
    await expect(store.head(at, { signal: never })).rejects.toMatchObject(refusal);
    await expect(collect(store.get(at, { signal: never }), 10)).rejects.toMatchObject(refusal);
    await expect(store.delete(at, { signal: never })).rejects.toMatchObject(refusal);
    const upload = { key: at, uploadId: '0mabcdefg-0123456789abcdef', startedAt: new Date() };
    await expect(store.abortUnfinished(upload, { signal: never })).rejects.toMatchObject(refusal);
  });

  test('an upload id is no path', async () => {
    await store.put(key, Buffer.from('x'), putOptions());
    const upload = { key, uploadId: `../../../${key}`, startedAt: new Date() };
    await expect(store.abortUnfinished(upload, { signal: never })).rejects.toMatchObject({ code: 'E_PRECONDITION' });
    expect(await store.head(key, { signal: never })).not.toBeNull();
  });

  test('a link out of the directory is not followed', async () => {
    const outside = await mkdtemp(join(tmpdir(), 'strongroom-outside-'));
    try {
      await writeFile(join(outside, 'secret'), 'secret');
      await symlink(outside, join(directory, 'v1'));
      await symlink(join(outside, 'secret'), join(directory, 'direct'));
      const through = 'v1/secret' as ObjectKey;
      await expect(store.put('v1/new' as ObjectKey, Buffer.from('x'), putOptions())).rejects.toMatchObject({
        code: 'E_PRECONDITION',
      });
      await expect(collect(store.get(through, { signal: never }), 10)).rejects.toMatchObject({
        code: 'E_PRECONDITION',
      });
      await expect(store.delete(through, { signal: never })).rejects.toMatchObject({ code: 'E_PRECONDITION' });
      await expect(collect(store.get('direct' as ObjectKey, { signal: never }), 10)).rejects.toMatchObject({
        code: 'E_PRECONDITION',
      });
      expect(await Array.fromAsync(store.list('', { signal: never }))).toEqual([]);
      expect(await readdir(outside)).toEqual(['secret']);
    } finally {
      await rm(outside, { recursive: true });
    }
  });

  test('what is an object cannot be a folder', async () => {
    await store.put('a' as ObjectKey, Buffer.from('x'), putOptions());
    await expect(store.put('a/b' as ObjectKey, Buffer.from('x'), putOptions())).rejects.toMatchObject({
      code: 'E_PRECONDITION',
    });
    expect(await Array.fromAsync(store.listUnfinished('', { signal: never }))).toEqual([]);
  });
});

describe('trouble', () => {
  test('a directory that is not there is not an empty store', async () => {
    const missing = new FileStore({ name: 'usb', directory: join(directory, 'not-mounted') });
    const code = 'E_STORE_BUCKET';
    await expect(missing.put(key, Buffer.from('x'), putOptions())).rejects.toMatchObject({ code });
    await expect(missing.head(key, { signal: never })).rejects.toMatchObject({ code });
    await expect(Array.fromAsync(missing.list('', { signal: never }))).rejects.toMatchObject({ code });
    await expect(Array.fromAsync(missing.listUnfinished('', { signal: never }))).rejects.toMatchObject({ code });
    await expect(missing.probeWrite('', { signal: never })).rejects.toMatchObject({ code });
    await expect(missing.delete(key, { signal: never })).rejects.toMatchObject({ code });
    expect(await readdir(directory)).toEqual([]);
  });

  test('a file system that may not be written: E_STORE_DENIED', async () => {
    // The kernel lets nobody make files in sysfs, root included.
    const system = new FileStore({ name: 'sys', directory: '/sys' });
    await expect(system.put(key, Buffer.from('x'), putOptions())).rejects.toMatchObject({ code: 'E_STORE_DENIED' });
    await expect(system.probeWrite('', { signal: never })).rejects.toMatchObject({ code: 'E_STORE_DENIED' });
  });

  test('no room: E_STORE_FULL, and the temporary file is gone', async () => {
    // The kernel refuses every file past the limit of the shell (in units of 1 KiB), as a full disk refuses the next block.
    const script = `
      import { FileStore } from '${join(import.meta.dirname, '../../../src/store/file.ts')}';
      const store = new FileStore({ name: 'usb', directory: process.argv[1] });
      const signal = new AbortController().signal;
      try {
        await store.put('big', new Uint8Array(300_000), { signal, condition: 'absent', contentType: 'a/b' });
        console.log('stored');
      } catch (e) {
        const left = await Array.fromAsync(store.listUnfinished('', { signal }));
        console.log(e.code, e.retryable, left.length, await store.head('big', { signal }));
      }`;
    const node = `trap '' XFSZ; ulimit -f 100; exec "$0" --input-type=module -e "$1" "$2"`;
    const run = promisify(execFile);
    const { stdout } = await run('bash', ['-c', node, process.execPath, script, directory]);
    expect(stdout.trim()).toBe('E_STORE_FULL false 0 null');
    expect(await filesBelow(directory)).toEqual([]);
  });

  test('versions are refused, not ignored', async () => {
    await store.put(key, Buffer.from('x'), putOptions());
    const options = { signal: never, versionId: '7' };
    await expect(store.head(key, options)).rejects.toMatchObject({ code: 'E_PRECONDITION' });
    await expect(store.delete(key, options)).rejects.toMatchObject({ code: 'E_PRECONDITION' });
    await expect(collect(store.get(key, options), 10)).rejects.toMatchObject({ code: 'E_PRECONDITION' });
  });
});

describe('temporary files', () => {
  test('of a killed process are listed with key and age, and can be aborted', async () => {
    const folder = join(directory, '.strongroom', 'tmp', key);
    const began = new Date('2026-11-22T01:30:00Z');
    const uploadId = `${began.getTime().toString(36)}-0123456789abcdef`;
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, uploadId), 'half');
    const [found, ...others] = await Array.fromAsync(store.listUnfinished('v1/prod/', { signal: never }));
    expect(others).toEqual([]);
    expect(found).toEqual({ key, uploadId, startedAt: began });
    expect(await Array.fromAsync(store.listUnfinished('v1/other/', { signal: never }))).toEqual([]);
    if (found !== undefined) await store.abortUnfinished(found, { signal: never });
    expect(await readdir(join(directory, '.strongroom', 'tmp'))).toEqual([]);
  });

  test('are made although others remove the same empty folders all the time', async () => {
    const top = join(directory, '.strongroom', 'tmp');
    const upload = async (): Promise<void> => {
      const { path, handle } = await openTmp(join(top, 'v1', 'prod', 'lease.json'));
      await handle.close();
      await removeTmp(path, top);
    };
    // Side by side in four threads of the file system, they get into each other's way hundreds of times.
    const one = async (): Promise<void> => {
      for (let i = 0; i < 200; i += 1) await upload();
    };
    await Promise.all(Array.from({ length: 8 }, one));
    expect(await readdir(top)).toEqual([]);
  });
});

describe('publishing', () => {
  test('never replaces a file that is there, even without the lock', async () => {
    await writeFile(join(directory, 'tmp'), 'new');
    await writeFile(join(directory, 'target'), 'old');
    await expect(publishNew(join(directory, 'tmp'), join(directory, 'target'))).rejects.toMatchObject({
      code: 'EEXIST',
    });
    expect(await readFile(join(directory, 'target'), 'utf8')).toBe('old');
  });

  test('falls back to a rename where the file system has no links', async () => {
    await writeFile(join(directory, 'tmp'), 'new');
    const noLinks = () => Promise.reject(Object.assign(new Error('not permitted'), { code: 'EPERM' }));
    await publishNew(join(directory, 'tmp'), join(directory, 'a', 'b', 'target'), noLinks);
    expect(await readFile(join(directory, 'a', 'b', 'target'), 'utf8')).toBe('new');
  });
});

describe('the lock of a key', () => {
  test('lets one in at a time', async () => {
    const path = join(directory, 'lock', 'x');
    let inside = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 5 }, () =>
        withFileLock(path, never, async () => {
          inside += 1;
          most = Math.max(most, inside);
          await stat(directory);
          inside -= 1;
        }),
      ),
    );
    expect(most).toBe(1);
    expect(await filesBelow(join(directory, 'lock'))).toEqual([]);
  });

  test('of a process that died is taken over; a fresh one is waited for until the abort', async () => {
    const path = join(directory, 'x');
    await writeFile(path, '');
    const reason = new Error('stop');
    await expect(withFileLock(path, AbortSignal.timeout(100), async () => 'in')).rejects.toMatchObject({
      name: 'TimeoutError',
    });
    await expect(withFileLock(path, AbortSignal.abort(reason), async () => 'in')).rejects.toBe(reason);
    const longAgo = new Date(Date.now() - 120_000);
    await utimes(path, longAgo, longAgo);
    expect(await withFileLock(path, never, async () => 'in')).toBe('in');
  });
});
