/** A plain snapshot on its way to disk: on a real one, with what really goes wrong there. */
import { mkdtemp, readdir, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Bytes } from '../../../src/core/flow.ts';
import { silentLog } from '../../../src/core/log.ts';
import { PlainFile, unfinishedIn } from '../../../src/snapshots/plain-file.ts';
import type { PlainTarget } from '../../../src/snapshots/plain-target.ts';

const never = new AbortController().signal;
let target: PlainTarget;

beforeEach(async () => {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'strongroom-plain-')));
  target = { folder, path: join(folder, 'x.snap') };
});
afterEach(() => rm(target.folder, { recursive: true, force: true }));

const inFolder = (): Promise<string[]> => readdir(target.folder);
const text = (): Promise<string> => readFile(target.path, 'utf8');

async function* bytes(...chunks: string[]): Bytes {
  for (const chunk of chunks) yield Buffer.from(chunk);
}

/** As file systems without hard links answer, and what they leave of one: nothing. */
const noLinks = (): Promise<void> =>
  Promise.reject(Object.assign(new Error('operation not permitted'), { code: 'EPERM' }));

describe('a file that is published', () => {
  it.each([
    { name: 'by a link', link: [] },
    { name: 'where there are no links', link: [noLinks] },
  ])('$name has all of the last content, mode 0600, and nothing beside it', async ({ link }) => {
    await using file = await PlainFile.create(target, silentLog);
    expect(await file.write(bytes('a longer first try'))).toEqual({ bytes: 18 });
    expect(await file.write(bytes('one, ', 'two'))).toEqual({ bytes: 8 });
    expect(await inFolder()).not.toContain('x.snap');
    await file.publish(never, ...link);
    expect(await inFolder()).toEqual(['x.snap']);
    expect(await text()).toBe('one, two');
    expect((await stat(target.path)).mode & 0o777).toBe(0o600);
  });

  it('stays when it is disposed of', async () => {
    {
      await using file = await PlainFile.create(target, silentLog);
      await file.write(bytes('kept'));
      await file.publish(never);
    }
    expect(await inFolder()).toEqual(['x.snap']);
  });
});

it.each(['000', '022', '777'])('is for its owner alone before the first byte, umask %s', async (umask) => {
  const before = process.umask(umask);
  try {
    await using _file = await PlainFile.create(target, silentLog);
    const [name = ''] = await inFolder();
    expect((await stat(join(target.folder, name))).mode & 0o777).toBe(0o600);
    expect(await unfinishedIn(target)).toEqual([join(target.folder, name)]);
  } finally {
    process.umask(before);
  }
});

describe('a file that is not published', () => {
  it('is gone when it is disposed of', async () => {
    {
      await using file = await PlainFile.create(target, silentLog);
      await file.write(bytes('half'));
    }
    expect(await inFolder()).toEqual([]);
  });

  it.each([
    { name: 'by a link', link: [] },
    { name: 'where there are no links', link: [noLinks] },
  ])('leaves what appeared meanwhile as it is, $name', async ({ link }) => {
    {
      await using file = await PlainFile.create(target, silentLog);
      await file.write(bytes('ours'));
      await writeFile(target.path, 'theirs');
      await expect(file.publish(never, ...link)).rejects.toMatchObject({
        code: 'E_PRECONDITION',
        message: `${target.path} exists already`,
      });
    }
    expect(await inFolder()).toEqual(['x.snap']);
    expect(await text()).toBe('theirs');
  });

  it('is not published after an abort', async () => {
    {
      await using file = await PlainFile.create(target, silentLog);
      await file.write(bytes('ours'));
      await expect(file.publish(AbortSignal.abort(new Error('stopped')))).rejects.toThrow('stopped');
    }
    expect(await inFolder()).toEqual([]);
  });

  it('takes its name back when its folder is gone', async () => {
    await using file = await PlainFile.create(target, silentLog);
    await file.write(bytes('ours'));
    await rm(target.folder, { recursive: true });
    await expect(file.publish(never)).rejects.toMatchObject({ code: 'E_PRECONDITION' });
  });
});

it('is refused where no file can be made', async () => {
  // procfs makes none for anybody, whatever the modes say.
  await expect(PlainFile.create({ folder: '/proc/self', path: '/proc/self/x.snap' }, silentLog)).rejects.toMatchObject({
    code: 'E_PRECONDITION',
    message: 'no file can be made in /proc/self',
  });
});
