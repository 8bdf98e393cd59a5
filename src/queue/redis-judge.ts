/** What the answers of a Redis mean for a queue. Pure. */

export type RedisFinding = {
  check: 'version' | 'eviction' | 'persistence' | 'writes' | 'rights';
  /** `fails` = no queue on it; `note` = allowed, worth knowing */
  verdict: 'ok' | 'note' | 'cannot be asked' | 'fails';
  says: string;
  /** what to do; absent when nothing is to be done */
  hint?: string;
};

/** What one primary says; null = it does not tell. */
export type NodeFacts = {
  /** host:port in a cluster; null where there is only one */
  node: string | null;
  info: ReadonlyMap<string, string> | null;
  policy: string | null;
  save: string | null;
  appendOnly: string | null;
};

const OLDEST = [6, 2] as const;
const WORST_FIRST = ['fails', 'cannot be asked', 'note', 'ok'] as const;

/** The fields of INFO by name. */
export function parseInfo(text: string): ReadonlyMap<string, string> {
  const lines = text.split(/\r?\n/).filter((line) => /^\w+:/.test(line));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]));
}

/** Version, eviction and persistence: of each the worst that any of the nodes gives cause for. */
export function judge(facts: readonly NodeFacts[]): RedisFinding[] {
  return [versionOf, evictionOf, persistenceOf].flatMap((check) => {
    const found = facts.map((node) => named(check(node), node.node));
    return found.toSorted((a, b) => WORST_FIRST.indexOf(a.verdict) - WORST_FIRST.indexOf(b.verdict)).slice(0, 1);
  });
}

function named(finding: RedisFinding, node: string | null): RedisFinding {
  return node === null || finding.verdict === 'ok' ? finding : { ...finding, says: `${node}: ${finding.says}` };
}

function versionOf({ info }: NodeFacts): RedisFinding {
  // Valkey goes on counting where Redis 7.2 ended, and keeps redis_version for those who ask.
  const version = info?.get('redis_version');
  const product = info?.has('valkey_version') === true ? `Valkey ${info.get('valkey_version')}` : `Redis ${version}`;
  const [major, minor] =
    /^(\d+)\.(\d+)/
      .exec(version ?? '')
      ?.slice(1)
      .map(Number) ?? [];
  if (major === undefined || minor === undefined) {
    return {
      check: 'version',
      verdict: 'cannot be asked',
      says: 'the version cannot be asked: INFO is refused',
      hint: 'make sure that it is 6.2 or newer',
    };
  }
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) {
    return { check: 'version', verdict: 'ok', says: product };
  }
  return { check: 'version', verdict: 'fails', says: `${product} is too old`, hint: 'upgrade to 6.2 or newer' };
}

function evictionOf({ info, policy }: NodeFacts): RedisFinding {
  const known = info?.get('maxmemory_policy') ?? policy;
  if (known === null) {
    return {
      check: 'eviction',
      verdict: 'cannot be asked',
      says: 'the eviction policy cannot be asked: INFO and CONFIG GET are refused',
      hint: "look where it is managed: maxmemory-policy must be noeviction, on Redis Enterprise 'No eviction'",
    };
  }
  if (known === 'noeviction') return { check: 'eviction', verdict: 'ok', says: 'nothing is evicted' };
  return {
    check: 'eviction',
    verdict: 'fails',
    says: `maxmemory-policy is ${known}: Redis may throw jobs away`,
    hint: 'CONFIG SET maxmemory-policy noeviction, and the same in redis.conf',
  };
}

/** A note only: every schedule is made again from the config, and the truth about backups is in the stores. */
function persistenceOf({ info, save, appendOnly }: NodeFacts): RedisFinding {
  const isAppending = (info?.get('aof_enabled') ?? (appendOnly === 'yes' ? '1' : appendOnly)) === '1';
  if (isAppending || (save !== null && save !== '')) {
    return { check: 'persistence', verdict: 'ok', says: isAppending ? 'every write is kept' : 'snapshots are kept' };
  }
  if (save === null) {
    return {
      check: 'persistence',
      verdict: 'cannot be asked',
      says: 'whether it keeps its data over a restart cannot be asked: CONFIG GET is refused',
    };
  }
  return {
    check: 'persistence',
    verdict: 'note',
    says: 'nothing is kept over a restart: waiting jobs are lost with it, and made again from the config',
  };
}
