/** Why no node is active: one precise error out of what all nodes said, the most fundamental reason first. Pure. */
import { describeError, isError, StrongroomError } from '../core/errors.ts';
import { addressOrigin, type NodeState, type NodeView } from './node-view.ts';
import { quorumOf } from './quorum.ts';

type Tally = {
  name: string;
  nodes: readonly NodeView[];
  by: (...states: NodeState[]) => readonly NodeView[];
  /** unsealed and answering */
  alive: number;
  /** those, and nodes that only we may be unable to talk to (TLS, DNS) */
  possible: number;
  quorum: number;
  /** origins that standbys name as active */
  named: readonly string[];
  /** a Vault standby says that it reaches the active node */
  leaderSeen: boolean;
  details: Record<string, unknown>;
};

// The order matters: a reason further up explains those below it.
const REASONS: readonly ((tally: Tally) => StrongroomError | null)[] = [
  rateLimited,
  allDead,
  uninitialised,
  sealed,
  removed,
  quorumLost,
  drSecondary,
  unclear,
  standbysOnly,
];

/** `nodes` of the cluster `name` hold no active one. The states of all of them, and why, are in the details. */
export function noActiveNode(name: string, nodes: readonly NodeView[]): StrongroomError {
  const tally = tallyOf(name, nodes);
  for (const reason of REASONS) {
    const error = reason(tally);
    if (error !== null) return error;
  }
  return leaderless(tally);
}

function tallyOf(name: string, nodes: readonly NodeView[]): Tally {
  const by = (...states: NodeState[]): NodeView[] => nodes.filter(({ state }) => states.includes(state));
  const standbys = by('standby');
  const alive = standbys.length + by('unclear').length;
  const blind = by('unreachable').filter(
    ({ error }) => error?.code === 'E_VAULT_TLS' || error?.details['reason'] === 'name',
  );
  const failures = nodes.flatMap(({ url, error }) => (error === null ? [] : [[url, describeError(error)] as const]));
  return {
    name,
    nodes,
    by,
    alive,
    possible: alive + blind.length,
    quorum: quorumOf(nodes.length),
    named: [...new Set(standbys.map(({ leaderAddress }) => addressOrigin(leaderAddress)).filter((at) => at !== ''))],
    leaderSeen: standbys.some(({ leaderReachable }) => leaderReachable === true),
    details: {
      states: Object.fromEntries(nodes.map(({ url, state }) => [url, state])),
      failures: Object.fromEntries(failures),
    },
  };
}

function rateLimited({ nodes }: Tally): StrongroomError | null {
  return nodes.find(({ error }) => isError(error, 'E_VAULT_RATE_LIMITED'))?.error ?? null;
}

function allDead({ name, nodes, by, details }: Tally): StrongroomError | null {
  const dead = by('unreachable', 'hanging');
  if (dead.length < nodes.length) return null;
  const errors = dead.flatMap(({ error }) => (error === null ? [] : [error]));
  // A handshake that fails is the nearest to being repaired; and of a single node there is nothing to add.
  const exact = errors.find((e) => e.code === 'E_VAULT_TLS') ?? (errors.length === 1 ? errors[0] : undefined);
  if (exact !== undefined) {
    return new StrongroomError(exact.code, exact.message, {
      ...(exact.hint === undefined ? {} : { hint: exact.hint }),
      details: { ...exact.details, ...details },
      retryable: exact.retryable,
      cause: exact.cause,
    });
  }
  return new StrongroomError('E_VAULT_UNREACHABLE', `none of the ${dead.length} nodes of ${name} answers`, {
    hint: errors.map((e) => e.message).join('; '),
    details,
    cause: new AggregateError(errors, 'every node failed'),
  });
}

function uninitialised({ name, by, details }: Tally): StrongroomError | null {
  const nodes = by('uninitialised');
  // Beside sealed or unsealed nodes, an uninitialised one is merely a member that has not joined yet.
  if (nodes.length === 0 || by('sealed', 'removed', 'standby', 'unclear').length > 0) return null;
  return new StrongroomError('E_VAULT_UNINITIALISED', `${name} is not initialised: ${list(nodes)}`, {
    hint: 'is this the right cluster? a new one is initialised by: bao operator init (or vault operator init)',
    details,
  });
}

function sealed({ name, by, alive, possible, quorum, leaderSeen, details }: Tally): StrongroomError | null {
  const nodes = by('sealed');
  const [first] = nodes;
  if (first === undefined) return null;
  const unsealingHelps = possible < quorum && possible + nodes.length >= quorum && !leaderSeen;
  if (alive > 0 && !unsealingHelps) return null;
  const given = first.progress ? ` (${first.progress} of ${first.threshold} key shares given)` : '';
  return new StrongroomError('E_VAULT_SEALED', `${name} is sealed: ${list(nodes)}${given}`, {
    hint:
      first.sealType === 'shamir'
        ? `give each of these nodes ${first.threshold} of the ${first.shares} key shares`
        : `the ${first.sealType ?? 'auto'} seal should open by itself: look at its key and at the log of the node; restart no unsealed node`,
    details,
  });
}

function removed({ by, alive, details }: Tally): StrongroomError | null {
  const nodes = by('removed');
  if (nodes.length === 0 || alive > 0) return null;
  return new StrongroomError('E_VAULT_REMOVED', `removed from their cluster: ${list(nodes)}`, {
    hint: 'after a restore: they met the cluster that the data came from. Cut them off from it, move the raft directory away, start one with a one-node peers.json',
    details,
  });
}

function quorumLost(tally: Tally): StrongroomError | null {
  const { name, nodes, alive, possible, quorum, named, leaderSeen, details } = tally;
  if (alive === 0 || possible >= quorum || leaderSeen) return null;
  const lost = nodes.filter(({ state }) => state !== 'standby' && state !== 'unclear');
  const still = named.length === 0 ? '' : `; still named as active: ${named.join(', ')}`;
  const message = `${name} has lost its quorum: ${alive} of ${nodes.length} nodes alive, ${quorum} needed${still}`;
  return new StrongroomError('E_QUORUM_LOST', message, {
    hint: `bring back any of ${list(lost)}; only if they are lost for good: peers.json recovery on a survivor`,
    details: { ...details, alive, quorum },
  });
}

function drSecondary({ name, by, alive, details }: Tally): StrongroomError | null {
  if (by('dr-secondary').length === 0 || alive > 0) return null;
  return new StrongroomError('E_VAULT_STANDBY', `${name} is a disaster-recovery secondary and serves nothing`, {
    hint: 'work with the primary cluster',
    details,
    retryable: false,
  });
}

function unclear({ by }: Tally): StrongroomError | null {
  return by('standby').length > 0 ? null : (by('unclear')[0]?.error ?? null);
}

function standbysOnly({ name, nodes, by, named, details }: Tally): StrongroomError | null {
  const outside = named.filter((address) => !nodes.some(({ url }) => url === address));
  const cutOff = by('standby').some(({ leaderReachable }) => leaderReachable === false);
  // With a node that does not answer, the address named may be that node's own idea of itself (a pod's IP).
  if (outside.length === 0 || cutOff || by('unreachable', 'hanging').length > 0) return null;
  const message = `only standbys of ${name} are configured; they name ${outside.join(', ')} as active`;
  return new StrongroomError('E_VAULT_STANDBY', message, {
    hint: `list every node of the cluster; missing: ${outside.join(', ')} (or its name)`,
    details: { ...details, leader: outside },
  });
}

function leaderless({ name, named, details }: Tally): StrongroomError {
  const whom =
    named.length === 0 ? 'and none names one' : `and the one they name (${named.join(', ')}) does not act as such`;
  return new StrongroomError('E_NO_ACTIVE_NODE', `no node of ${name} is active, ${whom}`, {
    hint: 'an election takes up to 20 s: try again; if it stays so, look at the logs of the nodes and at port 8201 between them',
    details,
  });
}

function list(nodes: readonly NodeView[]): string {
  return nodes.map(({ url }) => url).join(', ');
}
