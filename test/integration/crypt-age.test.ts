/** Both ways between our container and the `age` program: what it reads of ours, what we read of it. */
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished, pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureTool } from '../../scripts/tools.ts';
import { decrypt, newContainer } from '../../src/crypt/container.ts';
import { generateBreakGlass, writeSecretFile } from '../../src/crypt/generate.ts';
import { pieces, released } from '../unit/crypt/bytes.ts';

const run = promisify(execFile);
const CHUNK = 65_536;
const SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 1_234_567];
let age: string;
let keygen: string;
let folder: string;
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  [age, keygen] = await Promise.all([ensureTool('age'), ensureTool('age-keygen')]);
  folder = await mkdtemp(join(tmpdir(), 'strongroom-age-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Gives `identity` to `age -d -i -` on its standard input, as the recovery page does. */
async function ageDecrypt(identity: string, file: string): Promise<Buffer> {
  const child = spawn(age, ['-d', '-i', '-', '-o', at('out'), file], { stdio: ['pipe', 'ignore', 'pipe'] });
  const said: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
  const code = new Promise<number | null>((resolve) => child.once('close', resolve));
  child.stdin.end(`${identity}\n`);
  await finished(child.stdin).catch(() => undefined);
  if ((await code) !== 0) throw new Error(Buffer.concat(said).toString());
  return await readFile(at('out'));
}

describe.each([false, true])('the age program, post-quantum %s', (postQuantum) => {
  it('opens ours with the own identity and with break glass, and we open its files', async () => {
    const glass = await generateBreakGlass({ postQuantum });
    const name = `glass-${postQuantum}.txt`;
    await writeSecretFile(at(name), glass.file);
    expect((await run(keygen, ['-y', at(name)])).stdout.trim()).toBe(glass.recipient);
    for (const size of SIZES) {
      const plain = randomBytes(size);
      const container = await newContainer([glass.recipient]);
      await pipeline(container.encrypt(pieces(plain, 10_000)), createWriteStream(at('ours.age')));
      expect((await stat(at('ours.age'))).size).toBe(container.ciphertextBytes(size));
      expect((await ageDecrypt(container.identity.reveal(), at('ours.age'))).equals(plain)).toBe(true);
      await run(age, ['-d', '-i', at(name), '-o', at('out'), at('ours.age')]);
      expect((await readFile(at('out'))).equals(plain)).toBe(true);

      await writeFile(at('plain'), plain);
      await run(age, ['-r', glass.recipient, '-o', at('theirs.age'), at('plain')]);
      const back = await released(decrypt([glass.identity])(createReadStream(at('theirs.age'))));
      expect(back.error).toBeUndefined();
      expect(back.bytes.equals(plain)).toBe(true);
    }
  });

  it('refuses what we refuse', async () => {
    const container = await newContainer(postQuantum ? [(await generateBreakGlass({ postQuantum })).recipient] : []);
    const plain = randomBytes(2 * CHUNK + 100);
    const { bytes } = await released(container.encrypt(pieces(plain, CHUNK)));
    const start = container.header.byteLength + 16;
    const flipped = Buffer.from(bytes);
    flipped[start + 100] = (flipped[start + 100] ?? 0) ^ 1;
    const broken = [
      flipped,
      bytes.subarray(0, start + 2 * (CHUNK + 16)),
      bytes.subarray(0, -1),
      Buffer.concat([bytes, Buffer.from('x')]),
      Buffer.concat([bytes.subarray(0, start), bytes.subarray(start + CHUNK + 16)]),
    ];
    for (const cipher of broken) {
      await writeFile(at('broken.age'), cipher);
      await expect(ageDecrypt(container.identity.reveal(), at('broken.age'))).rejects.toThrow(/age: error/);
      expect((await released(decrypt([container.identity])(pieces(cipher, CHUNK)))).error).toBeDefined();
    }
  });
});
