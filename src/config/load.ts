/** One YAML file to a {@link Config}; every complaint says file, line, column, option, and what to write instead. */
import { open } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { StrongroomError } from '../core/errors.ts';
import { applySchema } from './explain.ts';
import { absolutePath, type Env, stateDirectory } from './paths.ts';
import { type Path, parseSource } from './positions.ts';
import { applyRules } from './rules.ts';
import type { ParsedConfig } from './schema.ts';
import { type Origin, SecretRef, TextRef } from './secret.ts';

/** A config that keeps every rule. Paths are absolute, durations milliseconds, sizes bytes, percentages parts of one. */
export type Config = Omit<ParsedConfig, 'spool'> & {
  /** the file it came from, as it was named */
  file: string;
  spool: ParsedConfig['spool'] & { directory: string };
};

export type LoadOptions = {
  /** for `env:` references and the default of spool.directory */
  env: Env;
  /** told about secret files that everybody may read, when they are read */
  warn?: (message: string) => void;
};

/** One mistake in the file. */
export type Problem = { file: string; line: number; column: number; path: string; message: string };

// A config is written by hand; what is larger is another file.
const LIMIT = 1024 * 1024;

/**
 * Reads and checks the file at `path`. No secret is read: references are resolved when they are needed. Rejects with
 * E_CONFIG_INVALID that lists every mistake (`details.problems`, a list of {@link Problem}).
 */
export async function loadConfig(path: string, options: LoadOptions): Promise<Config> {
  return parseConfig(await readConfig(path), path, options);
}

/** As {@link loadConfig}, with the text of the file at hand. Throws what that rejects with. */
export function parseConfig(text: string, file: string, options: LoadOptions): Config {
  const source = parseSource(text);
  if (source.mistakes.length > 0) {
    throw invalid(
      file,
      source.mistakes.map(({ at, message }) => ({ file, ...at, path: '', message })),
    );
  }
  const parsed = applySchema(source.data);
  const findings = [...('findings' in parsed ? parsed.findings : []), ...applyRules(source.data)];
  if (findings.length > 0 || !('config' in parsed)) {
    const problems = findings.map((finding) => ({
      file,
      ...source.locate(finding.path, finding.what),
      path: formatPath(finding.path),
      message: finding.message,
    }));
    throw invalid(file, problems);
  }
  const origin: Origin = {
    directory: dirname(resolve(file)),
    env: options.env,
    warn: options.warn ?? (() => undefined),
  };
  for (const { path, reference } of references(parsed.config)) {
    const problem = { file, ...source.locate(path), path: formatPath(path) };
    reference.bind(origin, where(problem));
  }
  return withAbsolutePaths(parsed.config, file, origin);
}

/** Every reference in a config, with its path; in the order of the schema. */
export function references(config: object): { path: Path; reference: SecretRef | TextRef }[] {
  const found: { path: Path; reference: SecretRef | TextRef }[] = [];
  const walk = (value: unknown, path: Path): void => {
    if (value instanceof SecretRef || value instanceof TextRef) found.push({ path, reference: value });
    else if (Array.isArray(value)) value.forEach((entry, index) => walk(entry, [...path, index]));
    else if (typeof value === 'object' && value !== null) {
      for (const [key, entry] of Object.entries(value)) walk(entry, [...path, key]);
    }
  };
  walk(config, []);
  return found;
}

function withAbsolutePaths(config: ParsedConfig, file: string, origin: Origin): Config {
  const directory = config.spool.directory ?? stateDirectory(origin.env, 'spool');
  return {
    ...config,
    file,
    spool: { ...config.spool, directory: absolutePath(directory, origin) },
    destinations: mapValues(config.destinations, (destination) =>
      destination.type === 'directory' ? { ...destination, path: absolutePath(destination.path, origin) } : destination,
    ),
    clusters: mapValues(config.clusters, (cluster) =>
      cluster.auth.method === 'kubernetes'
        ? { ...cluster, auth: { ...cluster.auth, jwtFile: absolutePath(cluster.auth.jwtFile, origin) } }
        : cluster,
    ),
  };
}

function mapValues<T>(entries: Readonly<Record<string, T>>, change: (value: T) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(entries).map(([name, value]) => [name, change(value)]));
}

async function readConfig(path: string): Promise<string> {
  try {
    await using file = await open(path, 'r');
    const chunks: Buffer[] = [];
    for await (const chunk of file.createReadStream({ end: LIMIT, autoClose: false })) chunks.push(chunk as Buffer);
    const bytes = Buffer.concat(chunks);
    if (bytes.byteLength > LIMIT) throw new RangeError('larger than 1 MiB');
    return bytes.toString('utf8');
  } catch (e) {
    const why = e instanceof Error && 'code' in e ? String(e.code) : e instanceof Error ? e.message : String(e);
    throw new StrongroomError('E_CONFIG_INVALID', `${path} cannot be read (${why})`, {
      hint: 'give --config <file> or set STRONGROOM_CONFIG',
      cause: e,
    });
  }
}

function invalid(file: string, problems: Problem[]): StrongroomError {
  const sorted = problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
  const lines = sorted.map((problem) => `${where(problem)}: ${problem.message}`);
  const message = lines.length === 1 ? (lines[0] ?? '') : `${lines.length} mistakes in ${file}\n${lines.join('\n')}`;
  return new StrongroomError('E_CONFIG_INVALID', message, {
    hint: 'correct the file, then: strongroom config check',
    details: { problems: sorted },
  });
}

function where({ file, line, column, path }: Omit<Problem, 'message'>): string {
  return `${file}:${line}:${column}${path === '' ? '' : ` ${path}`}`;
}

/** `clusters.prod-eu-1.nodes[0]` */
function formatPath(path: Path): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`;
    return text === '' ? String(step) : `${text}.${String(step)}`;
  }, '');
}
