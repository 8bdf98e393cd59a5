/** What the policy commands have in common: which document is meant, and how it is shown. */
import type { Config } from '../config/load.ts';
import { nearest } from '../config/suggest.ts';
import { StrongroomError } from '../core/errors.ts';
import { type Bucket, bucketsOf } from '../policy/buckets.ts';
import { type Principals, ROLES, type Role } from '../policy/roles.ts';
import type { Context } from './context.ts';

/** One document, with what it is about; `document` is what standard output shows without --json. */
export type PolicyResult = { document: unknown; cautions: readonly string[] } & Readonly<Record<string, unknown>>;

/**
 * Shows one document as it is, or with --json all of them in `documents`. `hint` is said to people: how to apply it.
 * Give exactly one, unless in JSON mode.
 */
export function showPolicies(context: Context, results: readonly PolicyResult[], hint: string): void {
  const [first] = results;
  if (first === undefined) throw new StrongroomError('E_BUG', 'a policy command without a document');
  const { document } = first;
  const body = typeof document === 'string' ? document.trimEnd() : JSON.stringify(document, null, 2);
  context.output.result({ documents: results }, () => body);
  if (context.output.json) return;
  for (const caution of first.cautions) context.output.warn(caution);
  context.output.say(hint);
}

/** The bucket of destination `name`; without a name every bucket for --json, else the only one. Throws E_USAGE. */
export function chooseBuckets(config: Config, name: string | undefined, all: boolean): Bucket[] {
  const buckets = bucketsOf(config);
  const names = buckets.flatMap(({ uses }) => uses.map((use) => use.name));
  if (name === undefined) {
    if (names.length === 0) throw noBucket(config);
    if (buckets.length === 1 || all) return buckets;
    throw new StrongroomError('E_USAGE', `${config.file} has ${buckets.length} buckets; which one?`, {
      hint: `--destination ${names.join(' | ')}`,
    });
  }
  const found = buckets.find(({ uses }) => uses.some((use) => use.name === name));
  if (found !== undefined) return [found];
  if (Object.hasOwn(config.destinations, name)) {
    throw new StrongroomError('E_USAGE', `destination "${name}" is a directory, and has no such policy`, {
      hint: names.length === 0 ? 'its file permissions are all there is' : `--destination ${names.join(' | ')}`,
    });
  }
  throw unknown(`no destination "${name}" in ${config.file}`, name, names);
}

function noBucket(config: Config): StrongroomError {
  return new StrongroomError('E_USAGE', `${config.file} has no destination on S3`, {
    hint: 'directories have no such policy: their file permissions are all there is',
  });
}

/** E_USAGE for a name that is none of `known`, with the nearest as hint. */
export function unknown(message: string, name: string, known: readonly string[]): StrongroomError {
  const meant = nearest(name, known);
  return new StrongroomError('E_USAGE', message, {
    hint: meant === null ? `known: ${known.join(', ')}` : `did you mean ${meant}?`,
  });
}

/** `backup=arn:…` as often as given, by role. Throws E_USAGE for what is not of that form. */
export function parseGrants(grants: readonly string[] = []): Principals {
  const found: Partial<Record<Role, string[]>> = {};
  for (const grant of grants) {
    const [, name = '', principal = ''] = /^([^=]*)=(\S+)$/.exec(grant) ?? [];
    if (principal === '') {
      throw new StrongroomError('E_USAGE', `--grant ${grant} names nobody`, {
        hint: '--grant backup=arn:aws:iam::<account>:role/<name>, or backup=<user> for a store with users of its own',
      });
    }
    if (principal === '*') {
      throw new StrongroomError('E_USAGE', `--grant ${grant} would be for everybody`, { hint: 'name the login' });
    }
    const role = ROLES.find((known) => known === name);
    if (role === undefined) throw unknown(`--grant ${grant}: no role "${name}"`, name, ROLES);
    found[role] = [...new Set([...(found[role] ?? []), principal])];
  }
  return found;
}
