import { execFile } from 'node:child_process';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

// tsc rewrites './x.ts' in imports only: the URL of the thread's file has to find the .js by itself.
it('the thread starts from the compiled files too', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'strongroom-compiled-'));
  try {
    const config = {
      extends: join(ROOT, 'tsconfig.build.json'),
      compilerOptions: {
        outDir: join(dir, 'dist'),
        rootDir: ROOT,
        sourceMap: false,
        types: ['node'],
        typeRoots: [join(ROOT, 'node_modules/@types')],
      },
      include: [],
      files: ['verify', 'verify-worker'].map((name) => join(ROOT, `src/archive/${name}.ts`)),
    };
    await writeFile(join(dir, 'tsconfig.json'), JSON.stringify(config));
    await writeFile(join(dir, 'package.json'), '{"type":"module"}');
    await symlink(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
    await run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', dir]);
    const script = `
      import { createReadStream } from 'node:fs';
      import { verifyArchive } from './dist/src/archive/verify.js';
      const { stage, report } = verifyArchive({ signal: new AbortController().signal, threaded: true });
      for await (const _ of stage(createReadStream(process.argv[2])));
      process.stdout.write((await report).product);`;
    await writeFile(join(dir, 'main.js'), script);
    const archive = join(ROOT, 'test/fixtures/archives/openbao-2.7.2-shamir.snap');
    const { stdout } = await run(process.execPath, [join(dir, 'main.js'), archive]);
    expect(stdout).toBe('openbao');
  } finally {
    await rm(dir, { recursive: true });
  }
});
