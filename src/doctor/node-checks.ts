/** Each node by itself, as it tells without a login. */
import type { ClusterConfig } from '../config/cluster-config.ts';
import type { ClusterView, NodeView } from '../vault/cluster.ts';
import { certificateEnd } from '../vault/tls.ts';
import { clockOutcome } from './clocks.ts';
import { type Outcome, ok, problem, unknown, warning } from './finding.ts';
import { failed } from './run-checks.ts';

const DAY_MS = 86_400_000;
/** Certificates are renewed by people, and people have holidays. */
const WARN_DAYS = 30;
const PROBLEM_DAYS = 7;
const CERTIFICATE_MS = 5_000;

export function nodeOutcomes({ nodes, warnings }: ClusterView): Outcome[] {
  const versions = new Set(nodes.flatMap(({ version }) => (version === null ? [] : [version])));
  return [
    ...nodes.flatMap(nodeOutcome),
    ...warnings.map((line) =>
      warning('nodes', line, 'correct clusters.<name>.nodes: API addresses of this cluster, all of them'),
    ),
    ...(versions.size > 1
      ? [warning('nodes', `they run ${versions.size} versions: ${[...versions].join(', ')}`, 'finish the upgrade')]
      : []),
  ];
}

function nodeOutcome(view: NodeView): Outcome[] {
  const what = `node ${view.url}`;
  const clock = view.clockSkewMs === null ? [] : [clockOutcome(`${what}, clock`, view.clockSkewMs)];
  return [stateOf(what, view), ...storageOf(what, view), ...clock];
}

function stateOf(what: string, view: NodeView): Outcome {
  const named = `${view.product} ${view.version ?? 'of unknown version'}`;
  switch (view.state) {
    case 'active':
    case 'standby':
      if (view.leaderReachable === false) {
        return problem(
          what,
          `${named}, a standby that cannot reach the active node`,
          `look at the network between ${view.leaderAddress ?? 'the active node'} and it (cluster port)`,
        );
      }
      return ok(what, `${view.state}, ${named}`);
    case 'sealed':
      return problem(
        what,
        `${named} is sealed`,
        `bao operator unseal -address=${view.url} (vault operator unseal), or see why its seal does not open it`,
      );
    case 'uninitialised':
      return problem(
        what,
        `${named} is not initialised`,
        'let it join its cluster: bao operator raft join, or take it out of nodes',
      );
    case 'removed':
      return problem(
        what,
        `${named} was removed from its cluster`,
        'take it out of nodes, or wipe its data and join it again',
      );
    case 'dr-secondary':
      return problem(what, `${named} is a DR secondary: it gives no snapshot`, 'write the nodes of the primary');
    case 'unreachable':
    case 'hanging':
    case 'unclear': {
      if (view.error !== null) return failed(what, view.error);
      return problem(what, `its state is ${view.state}`, `curl ${view.url}/v1/sys/seal-status`);
    }
  }
}

function storageOf(what: string, { storageType }: NodeView): Outcome[] {
  if (storageType === null || storageType === 'raft') return [];
  return [
    problem(
      what,
      `its storage is ${storageType}, not raft`,
      'strongroom copies clusters on integrated (raft) storage only',
    ),
  ];
}

/** How long the certificates of the nodes are good for. Those without TLS say nothing. */
export async function certificateOutcomes(
  nodes: readonly NodeView[],
  { tls }: Pick<ClusterConfig, 'tls'>,
  now: Date,
): Promise<Outcome[]> {
  const outcomes = await Promise.all(
    nodes.map(async ({ url, error }): Promise<Outcome[]> => {
      // A handshake that is refused, or nobody there: the node's own finding says so.
      if (!url.startsWith('https:') || error !== null) return [];
      return [
        certificateOutcome(
          `certificate of ${url}`,
          await certificateEnd(new URL(url), tls.serverName, CERTIFICATE_MS),
          now,
        ),
      ];
    }),
  );
  return outcomes.flat();
}

/** `end` null = it could not be seen. */
export function certificateOutcome(what: string, end: Date | null, now: Date): Outcome {
  if (end === null)
    return unknown(
      what,
      'it could not be looked at',
      'openssl s_client -connect <host:port> | openssl x509 -noout -enddate',
    );
  const days = Math.floor((end.getTime() - now.getTime()) / DAY_MS);
  const detail = `good for ${days} more day(s), until ${end.toISOString()}`;
  const fix = "renew the node's certificate, then reload the node (SIGHUP)";
  if (days < 0) return problem(what, `it ended on ${end.toISOString()}`, fix);
  if (days < PROBLEM_DAYS) return problem(what, detail, fix);
  return days < WARN_DAYS ? warning(what, detail, fix) : ok(what, detail);
}
