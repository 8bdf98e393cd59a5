/** The two small text members: meta.json and SHA256SUMS. */
import { StrongroomError } from '../core/errors.ts';
import type { ArchiveReport, RaftServer } from './report.ts';

export type Meta = { raft: ArchiveReport['raft']; stateBytes: number };

const SUFFRAGE = ['voter', 'nonvoter', 'staging'] as const;

/**
 * The only `Version` that the servers write, and the only one they install: any other they accept with 204, fail to apply,
 * and stay sealed. Seen on OpenBao 2.6.2 and 2.7.2 with 0 and with 2.
 */
const META_VERSION = 1;

/** Reads meta.json (hashicorp/raft `SnapshotMeta`). Throws E_SNAPSHOT_FORMAT. */
export function readMeta(json: Buffer): Meta {
  let meta: unknown;
  try {
    meta = JSON.parse(json.toString('utf8'));
  } catch (e) {
    throw new StrongroomError('E_SNAPSHOT_FORMAT', 'meta.json is not JSON', {
      cause: e,
      details: { bytes: json.length },
    });
  }
  const version = count(meta, 'Version', 0);
  if (version !== META_VERSION) throw unknownVersion(version);
  const servers = field(field(meta, 'Configuration'), 'Servers');
  if (!Array.isArray(servers) || servers.length === 0) throw wrong('Configuration.Servers', 'a list of servers');
  return {
    raft: {
      index: count(meta, 'Index', 1),
      term: count(meta, 'Term', 1),
      version,
      id: text(meta, 'ID'),
      configurationIndex: count(meta, 'ConfigurationIndex', 0),
      servers: servers.map(readServer),
    },
    stateBytes: count(meta, 'Size', 1),
  };
}

function readServer(server: unknown): RaftServer {
  const suffrage = SUFFRAGE[count(server, 'Suffrage', 0)];
  if (suffrage === undefined) throw wrong('Suffrage', '0, 1 or 2');
  return { id: text(server, 'ID'), address: text(server, 'Address'), suffrage };
}

function field(of: unknown, name: string): unknown {
  return typeof of === 'object' && of !== null ? (of as Record<string, unknown>)[name] : undefined;
}

function count(of: unknown, name: string, least: number): number {
  const value = field(of, name);
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least) {
    throw wrong(name, `a whole number of at least ${least}`);
  }
  return value;
}

function text(of: unknown, name: string): string {
  const value = field(of, name);
  if (typeof value !== 'string') throw wrong(name, 'a text');
  return value;
}

function unknownVersion(version: number): StrongroomError {
  return new StrongroomError(
    'E_SNAPSHOT_FORMAT',
    `the archive is of snapshot version ${version}, not ${META_VERSION}`,
    {
      details: { field: 'Version', version },
      hint: 'a server would accept it, fail to apply it, and stay sealed; is strongroom older than the server that made it?',
    },
  );
}

function wrong(name: string, wanted: string): StrongroomError {
  return new StrongroomError('E_SNAPSHOT_FORMAT', `${name} in meta.json is not ${wanted}`, {
    details: { field: name },
  });
}

/**
 * Compares SHA256SUMS with the hashes (hex) of the members. The order of its lines is random: it comes out of a Go map.
 * Throws E_SNAPSHOT_FORMAT for another shape, E_SNAPSHOT_CHECKSUM for another hash.
 */
export function checkSums(sums: Buffer, actual: ReadonlyMap<string, string>): void {
  const lines = sums.toString('latin1').split('\n');
  const stated = new Map<string, string>();
  for (const line of lines.slice(0, -1)) {
    const match = /^([0-9a-f]{64}) {2}(meta\.json|state\.bin)$/.exec(line);
    if (match?.[1] !== undefined && match[2] !== undefined) stated.set(match[2], match[1]);
  }
  if (lines.at(-1) !== '' || lines.length !== 3 || stated.size !== 2) {
    throw new StrongroomError(
      'E_SNAPSHOT_FORMAT',
      'SHA256SUMS does not hold one hash for meta.json and one for state.bin',
      {
        details: { bytes: sums.length, lines: lines.length - 1, hashes: stated.size },
      },
    );
  }
  for (const [name, hash] of stated) {
    if (actual.get(name) !== hash) {
      throw new StrongroomError('E_SNAPSHOT_CHECKSUM', `the SHA-256 of ${name} is not the one in SHA256SUMS`, {
        details: { member: name, stated: hash, actual: actual.get(name) },
      });
    }
  }
}
