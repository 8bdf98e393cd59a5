/** What the watching process and the fuzzing process say to each other. */
import type { Problem } from './judge.ts';
import type { LoopOptions, LoopReport } from './loop.ts';

export type Job = {
  /** URL of the module and name of the export that is the {@link Target} */
  module: string;
  name: string;
  /** `search` for findings, or leave of the corpus what reaches something (`cover`) */
  task: 'search' | 'cover';
  options: Omit<LoopOptions, 'corpus'>;
  corpus: Uint8Array[];
};

/** Buffers may arrive as Uint8Array on the other side. */
export type Answer =
  | { report: Omit<LoopReport, 'added' | 'finding'>; added: Uint8Array[]; finding: PlainFinding | null }
  | { kept: Uint8Array[] };

export type PlainFinding = { problem: Problem; input: Uint8Array };

/** The file in which a dead process leaves what it was at: how many inputs had begun, length of the last one, and that. */
export const HEAD_BYTES = 8;
