/** What a fuzzed reader is to the engine. */
import type { ErrorCode } from '../../../src/core/errors.ts';
import type { Random } from './random.ts';

export type Target = {
  /** longest input that is made; keeps a run short */
  maxBytes: number;
  /** parts of the URLs of the scripts whose coverage guides */
  covers: readonly string[];
  /** the errors of ours that bad input may end in; every other error is a finding */
  codes: readonly ErrorCode[];
  /** longest message in characters, where what is read is the reader's own, such as their config */
  maxMessage?: number;
  /** what the readers look for: magic numbers, names */
  tokens: readonly Buffer[];
  /** inputs to begin with, besides the corpus */
  seeds(): Buffer[];
  /** Inputs that are run and never changed: they take too long */
  once?(): Buffer[];
  /** A change that keeps checksums right, or null when the input is not of that shape. */
  mutate?(input: Buffer, random: Random): Buffer | null;
  /** Reads `input` in every way there is. Throws a {@link Violation} when a promise is broken. */
  run(input: Buffer): Promise<void>;
  /** Called once, behind the last run; not when the thread had to be ended. */
  close?(): void;
};

/** A promise of the reader is broken: it took what it must refuse, or gave what was not there. */
export class Violation extends Error {
  override readonly name = 'Violation';
}
