/** What is recorded beside the snapshots, and signed: runs, proofs, holds, removals, marks. */
import { z } from 'zod';

const time = z.iso.datetime();
const count = z.number().int().nonnegative();

const failure = z.object({ code: z.string(), message: z.string(), hint: z.string().optional() });

/** How one run of a job ended. `partly` = the work is done, and a promise is not kept. */
export const runRecordSchema = z.object({
  schema: z.literal('1'),
  cluster: z.string(),
  run: z.string(),
  job: z.string(),
  /** who started it: the worker's schedule, its catch-up of a missed run, or a person or CronJob */
  door: z.enum(['schedule', 'catch-up', 'command']),
  /** whoever asked for it on the dashboard, as the queue had the name; absent = nobody did */
  askedBy: z.string().exactOptional(),
  /** the due time that it was for; null = it was not scheduled */
  dueAt: time.nullable(),
  startedAt: time,
  endedAt: time,
  outcome: z.enum(['done', 'partly', 'failed']),
  error: failure.nullable(),
  /** true = whoever started it meant to start it again for this error; absent = the failure is the end of it */
  willRetry: z.boolean().exactOptional(),
  /** what was promised and is missing */
  missing: z.array(z.string()),
  /** the snapshot that it made; null = none */
  snapshot: z.string().nullable(),
  /** milliseconds by stage */
  timings: z.record(z.string(), z.number()),
  host: z.string(),
  tool: z.string(),
});

/** What reading one stored copy again showed. */
export const proofRecordSchema = z.object({
  schema: z.literal('1'),
  cluster: z.string(),
  snapshot: z.string(),
  destination: z.string(),
  proof: z.string(),
  run: z.string(),
  provenAt: time,
  verdict: z.enum(['good', 'bad']),
  /** as `snapshots verify` says it; `checksum` = nothing was read: the sum that the store computed of new data is the signed one */
  level: z.enum(['archive', 'ciphertext', 'checksum', 'failed']),
  openedWith: z.string().nullable(),
  bytes: count,
  manifestSha256: z.string(),
  error: failure.nullable(),
});

/** A snapshot is exempt from prune from a hold on, until its end or a release. */
export const holdRecordSchema = z.object({
  schema: z.literal('1'),
  cluster: z.string(),
  snapshot: z.string(),
  id: z.string(),
  act: z.enum(['hold', 'release']),
  at: time,
  who: z.string(),
  why: z.string(),
  /** null = until it is released */
  until: time.nullable(),
});

/** What a prune was about to remove from one destination: written before the first object goes. */
export const pruneRecordSchema = z.object({
  schema: z.literal('1'),
  cluster: z.string(),
  run: z.string(),
  destination: z.string(),
  part: z.number().int().positive(),
  at: time,
  removals: z.array(
    z.object({
      snapshot: z.string(),
      /** `snapshot`: one that was published; `leftover`: objects that never had a manifest, or no longer */
      what: z.enum(['snapshot', 'leftover']),
      bytes: count,
      reasons: z.array(z.string()),
    }),
  ),
  host: z.string(),
  tool: z.string(),
});

/** A restore passes a snapshot over from an `ignore` on, until a `lift`: it was found bad, and cannot be removed. */
export const markRecordSchema = z.object({
  schema: z.literal('1'),
  cluster: z.string(),
  snapshot: z.string(),
  id: z.string(),
  act: z.enum(['ignore', 'lift']),
  at: time,
  who: z.string(),
  why: z.string(),
});

export type RunRecord = z.infer<typeof runRecordSchema>;
export type ProofRecord = z.infer<typeof proofRecordSchema>;
export type HoldRecord = z.infer<typeof holdRecordSchema>;
export type PruneRecord = z.infer<typeof pruneRecordSchema>;
export type MarkRecord = z.infer<typeof markRecordSchema>;

/** DSSE payload types. */
export const RECORD_TYPES = {
  runs: 'application/vnd.strongroom.run+json',
  proofs: 'application/vnd.strongroom.proof+json',
  holds: 'application/vnd.strongroom.hold+json',
  prunes: 'application/vnd.strongroom.prune+json',
  marks: 'application/vnd.strongroom.mark+json',
} as const;
