/** The kept inputs of a target: small files, named by their content, compressed (`.br`) unless put there by hand. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, brotliDecompressSync } from 'node:zlib';

const ROOT = fileURLToPath(new URL('corpus/', import.meta.url));
const FINDINGS = fileURLToPath(new URL('../../.cache/fuzz/', import.meta.url));
/** Longer ones are not worth their room in the repository. */
const MAX_KEPT = 16 * 1024;

/** In the order of their names, so that a run with the same seed begins alike. Empty when there is no such folder. */
export function readCorpus(name: string): Buffer[] {
  return files(name).map(({ content }) => content);
}

/** What the corpus of `name` takes in the repository, in bytes. */
export function corpusBytes(name: string): number {
  return files(name).reduce((sum, { stored }) => sum + stored, 0);
}

/** Makes `inputs` the corpus of `name`; files of it that are not among them go, `seed-…` and `found-…` stay. */
export function writeCorpus(name: string, inputs: readonly Buffer[]): void {
  const directory = join(ROOT, name);
  mkdirSync(directory, { recursive: true });
  const wanted = new Map(
    inputs
      .filter(({ length }) => length <= MAX_KEPT)
      .map((input) => [`${hash(input)}.bin.br`, input] as [string, Buffer]),
  );
  for (const { file, content } of files(name)) {
    if (/^(seed|found)-/.test(file)) wanted.delete(`${hash(content)}.bin.br`);
    else if (!wanted.has(file)) rmSync(join(directory, file));
  }
  for (const [file, content] of wanted) writeFileSync(join(directory, file), brotliCompressSync(content));
}

function files(name: string): { file: string; content: Buffer; stored: number }[] {
  const directory = join(ROOT, name);
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .sort()
    .map((file) => {
      const stored = readFileSync(join(directory, file));
      return { file, content: file.endsWith('.br') ? brotliDecompressSync(stored) : stored, stored: stored.length };
    });
}

/** Writes the input of a finding outside of the repository and gives its path. */
export function writeFinding(name: string, kind: string, input: Buffer): string {
  mkdirSync(FINDINGS, { recursive: true });
  const file = join(FINDINGS, `${name}-${kind}-${hash(input)}.bin`);
  writeFileSync(file, input);
  return file;
}

function hash(input: Buffer): string {
  return createHash('sha256').update(input).digest('hex').slice(0, 16);
}
