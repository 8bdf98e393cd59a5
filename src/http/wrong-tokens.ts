/** How often an address may be wrong: whoever guesses is slowed down, and nobody else with them. */
import { isIPv6 } from 'node:net';

const MAX_WRONG = 20;
const WINDOW_MS = 60_000;
/** Who has so many addresses must not fill the memory; the longest known are forgotten. */
const MAX_ADDRESSES = 10_000;

/** Wrong tokens of the last minute. Times are milliseconds since 1970. */
export class WrongTokens {
  readonly #times = new Map<string, number[]>();

  /** Is nothing of `address` to be looked at for now? */
  isOver(address: string, now: number): boolean {
    return this.#recent(placeOf(address), now).length >= MAX_WRONG;
  }

  add(address: string, now: number): void {
    const place = placeOf(address);
    const times = [...this.#recent(place, now), now];
    this.#times.delete(place);
    this.#times.set(place, times);
    const oldest = this.#times.keys().next();
    if (this.#times.size > MAX_ADDRESSES && oldest.done !== true) this.#times.delete(oldest.value);
  }

  #recent(place: string, now: number): number[] {
    return (this.#times.get(place) ?? []).filter((time) => time > now - WINDOW_MS);
  }
}

/** One machine has a whole /64 of IPv6. */
function placeOf(address: string): string {
  if (!isIPv6(address) || address.toLowerCase().startsWith('::ffff:')) return address;
  const [head = '', tail = ''] = address.split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: address.includes('::') ? 8 - front.length - back.length : 0 }, () => '0');
  return [...front, ...zeros, ...back].slice(0, 4).join(':');
}
