/**
 * Which processes have to be started anew after a restore, and whether they were. The proof that a node was restarted is
 * that it was seen sealed or gone since the install; nobody's word is taken for it.
 */
import type { ClusterView, NodeView } from '../vault/cluster.ts';
import type { Opener } from './open.ts';
import type { RestartNeed, RestoreDeps } from './options.ts';
import { describeNodes, pause } from './settle.ts';

/** Also keeps a connection to every node, whose end tells of a process that is back before the next look. */
const WATCH_MS = 200;

/** Nodes that were seen without the state of before in their memory. */
export class Reloads {
  readonly #seen = new Set<string>();

  /** A look on connections that were open before: one that broke says only that. */
  note({ nodes }: ClusterView): void {
    for (const node of nodes) if (node.error?.details['reason'] !== 'reset') this.noteNode(node);
  }

  /** A look on new connections. */
  noteNode({ url, state, error }: NodeView): void {
    // A certificate that is not trusted says nothing about the process behind it.
    const isGone = state === 'unreachable' && error?.code !== 'E_VAULT_TLS';
    if (isGone || state === 'sealed') this.#seen.add(url);
  }

  has(url: string): boolean {
    return this.#seen.has(url);
  }
}

/**
 * Standbys of OpenBao keep mounts, policies and tokens of before in memory; and a node that stays unsealed through a
 * foreign snapshot keeps raft's old TLS keys: restarted standbys and it do not understand each other ("tls: unrecognized
 * name"; seen on 2.6.2 and 2.7.2), so it has to follow them. Vault reloads by itself, and one node alone has nobody to
 * misunderstand.
 */
export function restartsNeeded(
  active: NodeView,
  nodes: readonly NodeView[],
  { isForeign, members }: { isForeign: boolean; members: number },
): RestartNeed[] {
  if (active.product !== 'openbao' || members < 2) return [];
  const standbys = nodes.filter(({ url, state }) => url !== active.url && state === 'standby');
  return [
    ...standbys.map(({ url }) => ({
      url,
      why: 'a standby of OpenBao keeps mounts, policies and tokens of before in memory',
    })),
    ...(isForeign
      ? [{ url: active.url, why: 'it keeps the raft keys of before: last, when the others are back' }]
      : []),
  ];
}

type Waiting = { opener: Opener; reloads: Reloads; waitMs: number };

/**
 * Waits until every node of `needs` was seen down and is unsealed again; sealed Shamir nodes are opened when there are shares.
 * Resolves with those that were not restarted in time.
 */
export async function awaitRestarts(
  deps: RestoreDeps,
  needs: readonly RestartNeed[],
  waiting: Waiting,
  signal: AbortSignal,
): Promise<RestartNeed[]> {
  const { reloads, waitMs } = waiting;
  const open = needs.filter(({ url }) => !reloads.has(url));
  if (open.length === 0 || waitMs === 0) return open;
  const isOver = new AbortController();
  const until = AbortSignal.any([signal, isOver.signal]);
  const note = (view: NodeView): void => reloads.noteNode(view);
  const watches = Promise.all(open.map(({ url }) => deps.restored.watch(url, note, until)));
  watches.catch(() => undefined);
  try {
    // The first look opens the connections whose end is watched for.
    reloads.note(await deps.restored.survey(signal));
    deps.askRestart(open);
    await allBack(deps, needs, waiting, signal);
  } finally {
    isOver.abort();
    await watches;
  }
  return needs.filter(({ url }) => !reloads.has(url));
}

async function allBack(
  deps: RestoreDeps,
  needs: readonly RestartNeed[],
  { opener, reloads, waitMs }: Waiting,
  signal: AbortSignal,
): Promise<void> {
  const isShamir = (node: NodeView): boolean => node.sealType === 'shamir';
  let open = needs;
  let deadline = performance.now() + waitMs;
  while (open.length > 0 && performance.now() < deadline) {
    await pause(signal, WATCH_MS);
    const view = await deps.restored.survey(signal);
    reloads.note(view);
    const ours = view.nodes.filter(({ url }) => needs.some((need) => need.url === url));
    const isOpened = ours.some((node) => node.state === 'sealed' && isShamir(node));
    if (isOpened && (await opener.openAll({ ...view, nodes: ours }, signal))) {
      deadline = Math.max(deadline, performance.now() + waitMs);
    }
    const back = new Set(ours.flatMap(({ url, state }) => (state === 'active' || state === 'standby' ? [url] : [])));
    open = needs.filter(({ url }) => !(reloads.has(url) && back.has(url)));
    deps.onProgress({ stage: 'restarts', message: `waiting for ${open.length} restart(s): ${describeNodes(view)}` });
  }
}
