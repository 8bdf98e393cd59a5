/** The part of the schema about the worker itself: how much at once, how it ends. */
import { z } from 'zod';
import { duration } from './fields.ts';
import { listen } from './serve.ts';

export const worker = z.strictObject({
  backups: z.int().min(1).max(64).prefault(4).describe('backups at the same time, in one worker'),
  upkeep: z.int().min(1).max(64).prefault(2).describe('verify, replicate, prune and report at the same time'),
  lookEvery: duration()
    .prefault('2m')
    .describe('between two looks at the destinations for runs that were missed, and at the schedules in Redis'),
  probeEvery: duration()
    .refine((ms) => ms >= 1_000, { error: 'shorter than a second; write at least 1s' })
    .prefault('1m')
    .describe(
      'between two probes of the KMS keys of a cluster by a real Encrypt, which KMS charges for; certificates and a configured token are looked at every 10 minutes',
    ),
  listen: listen()
    .exactOptional()
    .describe(
      'host and port of /metrics, /healthz and /readyz of the worker; default: none; serve.token guards it, too',
    ),
  grace: duration()
    .prefault('25s')
    .describe('after SIGTERM runs may go on for so long; then they are broken off, with nothing half-published'),
});
