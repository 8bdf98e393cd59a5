/** What is recorded beside the snapshots, and signed: runs, proofs, holds. */
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
  /** the due time that it was for; null = it was not scheduled */
  dueAt: time.nullable(),
  startedAt: time,
  endedAt: time,
  outcome: z.enum(['done', 'partly', 'failed']),
  error: failure.nullable(),
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

export type RunRecord = z.infer<typeof runRecordSchema>;
export type ProofRecord = z.infer<typeof proofRecordSchema>;
export type HoldRecord = z.infer<typeof holdRecordSchema>;

/** DSSE payload types. */
export const RECORD_TYPES = {
  runs: 'application/vnd.strongroom.run+json',
  proofs: 'application/vnd.strongroom.proof+json',
  holds: 'application/vnd.strongroom.hold+json',
} as const;
