/** What a part of the seed is, and the two requests every part makes. */
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import type { BaoNode, BaoRequest } from './bao-node.ts';
import type { HttpAnswer } from './http-json.ts';
import { until } from './until.ts';

export type SeedContext = { node: BaoNode; token: string; leaseTtl: string; signal: AbortSignal | undefined };

export type SeedPart<T> = {
  /** Throws when the server does not take it. */
  write(context: SeedContext): Promise<T>;
  /** One line per difference, empty when all is there. Throws only when the server does not answer. */
  verify(context: SeedContext, written: T): Promise<string[]>;
};

/** A write that must succeed. */
export async function put(
  context: SeedContext,
  path: string,
  body: unknown = {},
  options: BaoRequest = {},
): Promise<HttpAnswer> {
  return context.node.call('POST', path, { token: context.token, body, signal: context.signal, ...options });
}

/**
 * A write to a mount that was made a moment ago: a new KV v2 refuses requests (400, "Upgrading") until it is ready,
 * within a second.
 */
export async function putWhenReady(
  context: SeedContext,
  path: string,
  body: unknown,
  options: BaoRequest = {},
): Promise<void> {
  await until(`${path} takes writes`, async () => (await put(context, path, body, options)).status, {
    signal: context.signal,
  });
}

export async function get(context: SeedContext, path: string, options: BaoRequest = {}): Promise<HttpAnswer> {
  return context.node.request('GET', path, { token: context.token, signal: context.signal, ...options });
}

/** Reads `path` and compares what is at `keys` of the answer with `expected`; a status other than 200 is a difference. */
export async function compare(
  context: SeedContext,
  path: string,
  keys: readonly string[],
  expected: unknown,
  options: BaoRequest = {},
): Promise<string[]> {
  const answer = await get(context, path, options);
  if (answer.status !== 200) return [`${path} answers ${answer.status}`];
  return isDeepStrictEqual(pick(answer.json, keys), expected) ? [] : [`${path} differs at ${keys.join('.')}`];
}

/** A string somewhere in an answer; throws when it is not there. */
export function textAt(answer: HttpAnswer, ...keys: string[]): string {
  return z.string().parse(pick(answer.json, keys));
}

export function pick(value: unknown, keys: readonly string[]): unknown {
  let current = value;
  for (const key of keys) {
    if (typeof current !== 'object' || current === null) return undefined;
    current = (current as Record<string, unknown>)[key];
  }
  return current;
}
