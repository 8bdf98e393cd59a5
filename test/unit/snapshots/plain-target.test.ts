/** Where a plain snapshot may go, on a real file system. */
import { mkdir, mkdtemp, realpath, rm, statfs, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { exitCodeOf, isError } from '../../../src/core/errors.ts';
import { checkTargetRoom, planTarget } from '../../../src/snapshots/plain-target.ts';

let root: string;

beforeEach(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'strongroom-target-')));
  await mkdir(join(root, 'out'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const at = (...names: string[]): string => join(root, ...names);

async function refusal(path: string): Promise<string> {
  const error: unknown = await planTarget(path).then(
    () => null,
    (e: unknown) => e,
  );
  if (!isError(error, 'E_PRECONDITION')) throw new Error(`${path} was not refused as it should be`, { cause: error });
  expect(exitCodeOf(error)).toBe(14);
  expect(error.hint).toBeDefined();
  return error.message;
}

describe('planTarget', () => {
  it('takes a new name in a folder that is there, and resolves the links on the way', async () => {
    await symlink(at('out'), at('link'));
    const target = { path: at('out', 'x.snap'), folder: at('out') };
    expect(await planTarget(at('out', 'x.snap'))).toEqual(target);
    expect(await planTarget(at('link', 'x.snap'))).toEqual(target);
  });

  it('refuses what is there: a file, a folder, a link that leads nowhere', async () => {
    await writeFile(at('out', 'file'), 'mine');
    await mkdir(at('out', 'folder'));
    await symlink(at('nowhere'), at('out', 'dangling'));
    expect(await refusal(at('out', 'file'))).toBe(`${at('out', 'file')} exists already`);
    expect(await refusal(at('out', 'folder'))).toBe(`${at('out', 'folder')} is a folder`);
    expect(await refusal(at('out', 'dangling'))).toBe(`${at('out', 'dangling')} exists already`);
    expect(await refusal('/dev/null')).toBe('/dev/null exists already');
    expect(await refusal('/')).toContain('is a folder');
  });

  it('refuses a folder that is missing, or is a file', async () => {
    await writeFile(at('out', 'file'), 'mine');
    expect(await refusal(at('missing', 'x.snap'))).toBe(`there is no folder ${at('missing')}`);
    expect(await refusal(at('out', 'file', 'x.snap'))).toBe(`${at('out', 'file')} is not a folder`);
  });
});

describe('a git work tree', () => {
  it.each([
    { name: 'whose .git is a folder', make: () => mkdir(at('tree', '.git')) },
    { name: 'that is linked: its .git is a file', make: () => writeFile(at('tree', '.git'), 'gitdir: /elsewhere\n') },
    { name: 'whose .git is a link', make: () => symlink(at('elsewhere'), at('tree', '.git')) },
  ])('$name is refused, in it, below it, and through a link into it', async ({ make }) => {
    await mkdir(at('tree', 'a', 'b'), { recursive: true });
    await symlink(at('tree', 'a', 'b'), at('out', 'link'));
    expect(await planTarget(at('tree', 'a', 'b', 'x.snap'))).toBeDefined();
    await make();
    const words = `lies in the git work tree ${at('tree')}`;
    expect(await refusal(at('tree', 'x.snap'))).toContain(words);
    expect(await refusal(at('tree', 'a', 'b', 'x.snap'))).toContain(words);
    expect(await refusal(at('out', 'link', 'x.snap'))).toContain(words);
  });

  it('that only links to the folder is none: git does not follow links', async () => {
    await mkdir(at('tree', '.git'), { recursive: true });
    await symlink(at('out'), at('tree', 'link'));
    expect(await planTarget(at('tree', 'link', 'x.snap'))).toMatchObject({ folder: at('out') });
  });
});

describe('checkTargetRoom', () => {
  it('knows what the disk has', async () => {
    const target = await planTarget(at('out', 'x.snap'));
    const { bavail, bsize } = await statfs(root);
    await checkTargetRoom(target, 1);
    // Others free and use room meanwhile: twice as much as there is, and it is too much.
    const needed = 2 * bavail * bsize;
    await expect(checkTargetRoom(target, needed)).rejects.toMatchObject({
      code: 'E_SPACE',
      message: expect.stringMatching(/ free, and the snapshot is /) as string,
      details: { needed },
    });
  });
});
