/** Three nodes that change, lose or kill their leader at each moment of a restore: what is said is what is true. */
import { describe, type ExpectStatic, it } from 'vitest';
import { isError } from '../../src/core/errors.ts';
import { inSpool, verdictOf } from '../support/backup-trial.ts';
import type { BaoNode } from '../support/bao-node.ts';
import { autopilotHealthy, sealStatus } from '../support/bao-status.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { type HttpFaultProxy, startHttpFaultProxy } from '../support/http-fault-proxy.ts';
import { breakInAt, failureOfRestore, NO_S3, RestoreScene, restoreByCli } from '../support/restore-scene.ts';
import { type AppOptions, bringBack } from '../support/strongroom-app.ts';
import { until } from '../support/until.ts';

const SEAL = { type: 'static', keyId: 'k1', keyHex: '7e'.repeat(32) } as const;
/** an upload of some seconds: time enough to lose a leader in */
const SLOW = { kind: 'throttle', bytesPerSecond: 500_000, direction: 'up' } as const;
const STATE_BYTES = 3 * 2 ** 20;

/** Strongroom's way to the three nodes: to the one that is active when it is laid through proxies, to the others straight. */
type Way = { leader: BaoNode; http: HttpFaultProxy /** in front of `http` */; gate: FaultProxy; app: AppOptions };

class Three implements AsyncDisposable {
  readonly scene: RestoreScene;
  #way: Way;
  readonly #stack: AsyncDisposableStack;

  private constructor(scene: RestoreScene, way: Way, stack: AsyncDisposableStack) {
    this.scene = scene;
    this.#way = way;
    this.#stack = stack;
  }

  static async open(idPrefix: string): Promise<Three> {
    await using stack = new AsyncDisposableStack();
    const scene = stack.use(await RestoreScene.open(idPrefix, { nodes: 3, seal: SEAL, stateBytes: STATE_BYTES }));
    await scene.backedUp();
    const way = await layWay(scene, stack);
    return new Three(scene, way, stack.move());
  }

  /** To whoever is active now. */
  async aim(): Promise<Way> {
    await this.#settled();
    this.#way = await layWay(this.scene, this.#stack);
    return this.#way;
  }

  get way(): Way {
    return this.#way;
  }

  get others(): BaoNode[] {
    return this.scene.cluster.nodes.filter((node) => node !== this.#way.leader);
  }

  async killOthers(): Promise<void> {
    await Promise.all(this.others.map((node) => node.kill()));
  }

  get posts(): string[] {
    return this.#way.http.requests.filter((line) => /^POST .*raft\/snapshot/.test(line));
  }

  /** Every node runs, and one is active; a node that sealed itself opens again when its process starts anew. */
  async recover(): Promise<void> {
    for (const node of this.scene.cluster.nodes) {
      await node.start();
      if ((await sealStatus(node)).sealed) await node.restart();
    }
    await this.#settled();
  }

  /**
   * Healthy; or serving, with one node that does not follow: it led when the quorum was lost, and has the snapshot in
   * its storage alone, behind a gap in its log.
   */
  async #settled(): Promise<void> {
    const { cluster } = this.scene;
    await until('all nodes follow, but for one that does not', async () => {
      const active = await cluster.active();
      if (active === undefined) return undefined;
      if (await autopilotHealthy(active, cluster.rootToken)) return true;
      const logs = await Promise.all(cluster.nodes.map((node) => node.log()));
      return logs.some((log) => /failed to get log entry: .*log not found/.test(log)) ? true : undefined;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

async function layWay(scene: RestoreScene, stack: AsyncDisposableStack): Promise<Way> {
  const { cluster, world } = scene;
  const leader = await cluster.waitActive();
  const http = stack.use(await startHttpFaultProxy(leader.url));
  const gate = stack.use(await startFaultProxy(http.url));
  const nodes = cluster.nodes.map((node) => (node === leader ? gate.url : node.url));
  return { leader, http, gate, app: { configFile: await world.config(nodes), env: NO_S3 } };
}

async function isUntouched(scene: RestoreScene, expect: ExpectStatic): Promise<void> {
  expect(await scene.canary()).toBe('written since');
  expect(await scene.installs()).toBe(0);
  expect(await scene.notes()).toEqual([]);
  expect(await inSpool(scene.world)).toEqual([]);
}

describe.concurrent('the active node', () => {
  it('is another one after the confirmation: nothing is installed, and the next run is clean', async ({ expect }) => {
    await using three = await Three.open('change');
    const { scene } = three;
    const { app, gate } = three.way;
    const { cluster } = scene;
    let next: BaoNode | undefined;
    const error = await failureOfRestore(
      bringBack(app, {
        confirm: async () => {
          next = await cluster.leaderStepDown();
        },
      }),
    );
    expect(verdictOf(error)).toEqual(['E_PRECONDITION', 14]);
    expect(error.message).toBe(`the active node changed from ${gate.url} to ${next?.url ?? ''} meanwhile`);
    expect(error.hint).toBe('nothing was installed; run the restore again');
    expect(three.posts).toEqual([]);
    await isUntouched(scene, expect);

    // The next one is sealed by hand in the middle of it: whoever follows it has what it was given.
    const sealed = breakInAt(
      app,
      'settle',
      () =>
        next?.call('PUT', 'sys/seal', { token: cluster.rootToken, timeoutMs: 60_000 }) ?? Promise.reject(new Error()),
    );
    const result = await bringBack(sealed.app);
    await sealed.done;
    expect(result).toMatchObject({ complete: false, plan: { target: next?.url }, proof: { unexpectedCount: 0 } });
    expect(result.proof.node).not.toBe(next?.url);
    expect(result.voters).toContainEqual(
      expect.objectContaining({ node: next?.url, state: 'sealed', proven: false, problem: 'it is sealed' }),
    );
    expect(await scene.canary()).toBe('of the snapshot');
    expect(await scene.installs()).toBe(1);
  });

  it('steps down during the upload, or loses its quorum there: nothing is applied, and that is said or not known', async ({
    expect,
  }) => {
    await using three = await Three.open('upload');
    const { scene } = three;
    const { app, gate, leader } = three.way;
    const { cluster } = scene;
    await gate.set(SLOW);
    const down = breakInAt(app, 'install', () => cluster.leaderStepDown());
    const error = await failureOfRestore(bringBack(down.app, { settleTimeoutMs: 10_000 }));
    await down.done;
    expect(three.posts).toHaveLength(1);
    if (error.code !== 'E_PROOF_FAILED') {
      // It says so, or hangs up on whoever is still sending.
      expect(['E_VAULT_STANDBY', 'E_VAULT_UNREACHABLE']).toContain(error.code);
      expect(error.message).toContain(gate.url);
      expect(`${error.message}; ${error.hint ?? ''}`).toMatch(/nothing was (installed|applied)/);
      await isUntouched(scene, expect);
    } else {
      // When it had read so far, it answers 204 and seals itself, because it is no leader any more.
      expect(verdictOf(error)).toEqual(['E_PROOF_FAILED', 13]);
      expect(error.message).toMatch(
        /^the snapshot was handed over, but 1 records of \S+ are not what it holds: changed /,
      );
      expect((await sealStatus(leader)).sealed).toBe(true);
      await three.recover();
      expect(await scene.canary()).toBe('written since');
    }

    const now = await three.aim();
    await now.gate.set(SLOW);
    const lost = breakInAt(now.app, 'install', () => three.killOthers());
    const unknown = await failureOfRestore(bringBack(lost.app, { settleTimeoutMs: 7000 }));
    await lost.done;
    // It answers 204, and seals itself because it is no leader any more: neither is a word about the data.
    expect(verdictOf(unknown)).toEqual(['E_INSTALL_UNKNOWN', 20]);
    expect(unknown.message).toContain(`${now.gate.url} sealed`);
    for (const { url } of three.others) expect(unknown.message).toContain(`${url} unreachable`);
    expect(unknown.hint).toContain('run the same command again: it looks what became of this install');
    expect(await scene.notes()).toHaveLength(1);
    await three.recover();
    expect(await scene.canary()).toBe('written since');
  });

  it('is killed right after its 204: what raft kept is what is told', async ({ expect }) => {
    await using three = await Three.open('killed');
    const { scene } = three;
    const { app, leader, gate } = three.way;
    const killed = breakInAt(app, 'settle', () => leader.kill());
    const outcome = await bringBack(killed.app, { settleTimeoutMs: 15_000 }).then(
      ({ proof }) => proof.unexpectedCount,
      (e: unknown) => e,
    );
    await killed.done;
    // Nobody decides which: it depends on what its followers had received.
    const isKept = (await scene.canary()) === 'of the snapshot';
    if (isKept) {
      expect(outcome).toBe(0);
    } else {
      expect(await scene.canary()).toBe('written since');
      if (!isError(outcome)) throw outcome;
      expect(verdictOf(outcome)).toEqual(['E_PROOF_FAILED', 13]);
      expect(outcome.message).toMatch(
        /^the snapshot was handed over, but 1 records of \S+ are not what it holds: changed /,
      );
      expect(outcome.hint).toContain('run the same command again');
    }

    // The same command, now without the dead node: it goes on, or begins anew.
    const again = await restoreByCli(app.configFile);
    expect(again.code).toBe(3);
    const result = JSON.parse(again.stdout) as { plan: unknown; voters: unknown[] };
    expect(result).toMatchObject({ complete: false, proof: { unexpectedCount: 0 } });
    expect(result.plan === null).toBe(isKept);
    expect(result.voters).toContainEqual(
      expect.objectContaining({ node: gate.url, proven: false, problem: 'it is unreachable' }),
    );
    expect(await scene.canary()).toBe('of the snapshot');
  });

  it('is killed when its followers have the snapshot: the next one serves it', async ({ expect }) => {
    await using three = await Three.open('follow');
    const { scene } = three;
    const { app, leader } = three.way;
    const { cluster } = scene;
    const killed = breakInAt(app, 'settle', async () => {
      await Promise.all(three.others.map((node) => node.waitLog(/Installed remote snapshot/)));
      await leader.kill();
    });
    const result = await bringBack(killed.app);
    await killed.done;
    expect(result).toMatchObject({ complete: false, proof: { unexpectedCount: 0 } });
    const now = await cluster.waitActive();
    expect([result.proof.node, await scene.canary()]).toEqual([now.url, 'of the snapshot']);
  });
});

describe.concurrent('a quorum that is lost', () => {
  it('before the install refuses it; after the 204 it is not known, until the nodes are back', async ({ expect }) => {
    await using three = await Three.open('quorum');
    const { scene } = three;
    const { app } = three.way;
    const { cluster } = scene;
    const confirm = async (): Promise<void> => {
      await three.killOthers();
      await until('nobody leads', async () => ((await cluster.active()) === undefined ? true : undefined));
    };
    const refused = await failureOfRestore(bringBack(app, { confirm }));
    expect(verdictOf(refused)).toEqual(['E_QUORUM_LOST', 20]);
    expect(refused.message).toMatch(/^prod has lost its quorum: 1 of 3 nodes alive, 2 needed/);
    expect(refused.hint).toMatch(/^nothing was installed; bring back any of /);
    expect(three.posts).toEqual([]);
    await three.recover();
    await isUntouched(scene, expect);

    const now = await three.aim();
    const lost = breakInAt(now.app, 'settle', () => three.killOthers());
    const unknown = await failureOfRestore(bringBack(lost.app, { settleTimeoutMs: 8000 }));
    await lost.done;
    expect(verdictOf(unknown)).toEqual(['E_INSTALL_UNKNOWN', 20]);
    expect(unknown.message).toContain(`${now.gate.url} sealed`);
    for (const { url } of three.others) expect(unknown.message).toContain(`${url} unreachable`);
    expect(await scene.notes()).toHaveLength(1);

    await three.recover();
    const isKept = (await scene.canary()) === 'of the snapshot';
    const installs = await scene.installs();
    const result = await bringBack(now.app);
    expect(result.proof.unexpectedCount).toBe(0);
    expect(result.plan === null).toBe(isKept);
    expect(await scene.installs()).toBe(installs + (isKept ? 0 : 1));
    expect(await scene.canary()).toBe('of the snapshot');
    const restartOnly = expect.objectContaining({
      node: now.gate.url,
      problem: expect.stringMatching(/^not seen to restart/) as string,
    }) as unknown;
    if (isKept) return;
    if (!(await now.leader.log()).includes('error="leadership lost while committing log"')) {
      // It knew that it led no longer before it wrote anything behind the snapshot: its log fits the others'.
      expect(result.voters).toContainEqual(restartOnly);
      await cluster.waitHealthy();
      return;
    }
    // What nobody else has taken stands between the node that led and all the others.
    const stuck = result.voters.find(({ node }) => node === now.gate.url);
    expect(stuck).toMatchObject({ proven: false });
    expect(stuck?.problem).toMatch(/^it has applied index \d+ of \d+; where its log says .* let it join again$/);
    expect(await now.leader.log()).toMatch(/failed to get log entry: .*log not found/);
    await now.leader.kill();
    await cluster.call('POST', 'sys/storage/raft/remove-peer', { server_id: now.leader.id });
    await now.leader.wipe();
    await now.leader.start();
    await cluster.join(now.leader);
    await cluster.waitHealthy();
    const cured = await bringBack(now.app);
    expect(cured.voters).toContainEqual(restartOnly);
  });
});
