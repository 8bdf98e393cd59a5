/** Opens sealed Shamir nodes with the shares that people give. Each is asked for once and used for every node. */
import { isError, StrongroomError } from '../core/errors.ts';
import type { Secret } from '../core/secret.ts';
import type { ClusterView, NodeView } from '../vault/cluster.ts';
import { resetUnseal, unseal } from '../vault/seal.ts';
import type { RestoreDeps } from './options.ts';

const OTHER_SHARES = 'it takes the shares of the cluster that the snapshot was taken from';

export class Opener {
  readonly #deps: Pick<RestoreDeps, 'restored' | 'nextShare'>;
  readonly #threshold: number;
  readonly #shares: Secret<string>[] = [];

  /** `threshold` is that of the snapshot. */
  constructor(deps: Pick<RestoreDeps, 'restored' | 'nextShare'>, threshold: number) {
    this.#deps = deps;
    this.#threshold = threshold;
  }

  /** Shares were given already: the next node costs nobody anything. */
  get hasShares(): boolean {
    return this.#shares.length > 0;
  }

  /**
   * Sealed nodes that go on counting by a smaller number than the snapshot's: they refuse the right shares until their
   * process is started anew (trap 8).
   */
  staleNodes({ nodes }: ClusterView): NodeView[] {
    return nodes.filter((node) => node.state === 'sealed' && (node.threshold ?? 0) < this.#threshold);
  }

  /**
   * Gives every sealed node its shares, {@link staleNodes} excepted; true when there was any such node. Rejects with
   * E_UNSEAL when there are too few shares or they do not fit.
   */
  async openAll(view: ClusterView, signal: AbortSignal): Promise<boolean> {
    const stale = this.staleNodes(view);
    const sealed = view.nodes.filter((node) => node.state === 'sealed' && !stale.includes(node));
    for (const node of sealed) {
      try {
        await this.#open(node, signal);
      } catch (e) {
        signal.throwIfAborted();
        if (!isError(e)) throw e;
        // A node that is busy or gone for the moment is looked at again in the next round.
        if (e.retryable && e.code !== 'E_INTERRUPTED') continue;
        throw stillSealed(e, node.url);
      }
    }
    return sealed.length > 0;
  }

  async #open(node: NodeView, signal: AbortSignal): Promise<void> {
    // A node initialised with more shares than the source keeps asking for its own number: it gets that many.
    const needed = Math.max(this.#threshold, node.threshold ?? 0);
    const target = { client: this.#deps.restored.node(node.url) };
    if ((node.progress ?? 0) > 0) await resetUnseal(target, signal);
    for (let given = 0; given < needed; given += 1) {
      const share =
        this.#shares[given] ?? (await this.#deps.nextShare({ node: node.url, progress: given, threshold: needed }));
      if (share === null) {
        throw new StrongroomError(
          'E_UNSEAL',
          `${node.url} needs ${needed} unseal key shares and only ${given} were given`,
          { hint: OTHER_SHARES },
        );
      }
      this.#shares[given] = share;
      const answer = await unseal(target, share, signal);
      // A joiner answers nothing until it has joined: the next survey tells.
      if (answer.outcome === 'blocked' || !answer.status.sealed) return;
      // The server counts a share once, however often it is given.
      if (answer.status.progress > 0 && answer.status.progress <= given) {
        throw new StrongroomError('E_UNSEAL', `${node.url} needs ${needed} different shares, and was given one twice`, {
          hint: OTHER_SHARES,
        });
      }
    }
  }
}

/** The data are in place already, whatever the shares do: who reads this must not think of a failed install. */
function stillSealed(e: StrongroomError, node: string): StrongroomError {
  return new StrongroomError(e.code, `the snapshot is installed, but ${node} stays sealed: ${e.message}`, {
    hint:
      `${e.hint === undefined ? '' : `${e.hint}; `}do not install it again: unseal each node by hand (bao|vault operator ` +
      'unseal) or have the right shares ready, and run the same command again: it goes on from here',
    details: e.details,
    retryable: false,
    cause: e,
  });
}
