/**
 * Destinations that do not answer. Many clusters share one, and each would wait for it in its turn: so the others take its
 * word for a while, and then one asks again.
 */
import { isError, type StrongroomError } from '../core/errors.ts';

const FIRST_MS = 30_000;
const LONGEST_MS = 4 * 60_000;

type Silent = { error: StrongroomError; until: number; waitMs: number };

/** Of one process; kept from one reading of a status to the next. */
export class Silence {
  readonly #silent = new Map<string, Silent>();

  /** Why `destination` is not to be asked now; null = ask it. */
  of(destination: string, now: Date): StrongroomError | null {
    const silent = this.#silent.get(destination);
    return silent !== undefined && now.getTime() < silent.until ? silent.error : null;
  }

  /** What asking showed. Only one that said nothing is let alone: 30 s at first, 4 min in the end. What it answered costs no time. */
  tell(destination: string, away: StrongroomError | null, now: Date): void {
    const silent = this.#silent.get(destination);
    if (away === null) this.#silent.delete(destination);
    // Those that were asked at the same time say the same: that is one silence, not four.
    if (!isError(away, 'E_STORE_UNREACHABLE') || (silent !== undefined && now.getTime() < silent.until)) return;
    const waitMs = Math.min(silent === undefined ? FIRST_MS : silent.waitMs * 2, LONGEST_MS);
    this.#silent.set(destination, { error: away, until: now.getTime() + waitMs, waitMs });
  }
}
