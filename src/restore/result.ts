/** What a restore can say at its end. */
import type { RestorePlan } from './plan.ts';
import type { RestoreProof } from './prove.ts';
import type { Expected } from './settle.ts';
import type { VoterProof } from './voters.ts';

export type RestoreResult = {
  /** false = the active node holds the snapshot, but not every node is proven to serve it: `voters` says which */
  complete: boolean;
  /** null for a plain file */
  snapshot: string | null;
  label: string;
  openedWith: string;
  raftIndex: number;
  /** null when an earlier run had installed it: there was nothing to plan */
  plan: RestorePlan | null;
  /** the snapshot of the target right before the install; null = declined */
  safety: string | null;
  proof: RestoreProof;
  voters: VoterProof[];
  /** members of the cluster that are not among the configured nodes, and so were not asked */
  unasked: number;
  warnings: string[];
  /** milliseconds by stage; `total` is from the first step to the proof */
  timings: { fetch: number; safety: number; install: number; settle: number; prove: number; total: number };
};

export type Installed = {
  expect: Expected;
  /** when the archive was handed over (performance.now()) */
  since: number;
  isForeign: boolean;
};
