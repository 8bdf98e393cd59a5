/** What the schema found, in words: what is wrong, a semicolon, what to do. No message repeats a value. */
import { z } from 'zod';
import type { Path } from './positions.ts';
import { configSchema, type ParsedConfig } from './schema.ts';
import { nearest } from './suggest.ts';

export type Finding = {
  path: Path;
  message: string;
  /** `key` = the key itself is the mistake */
  what: 'key' | 'value';
};

/** The data as the schema makes it, or every finding. */
export function applySchema(data: unknown): { config: ParsedConfig } | { findings: Finding[] } {
  const knownKeys = new Map<string, readonly string[]>();
  const result = configSchema.safeParse(data, {
    error: (issue) => {
      if (issue.code === 'unrecognized_keys' && issue.inst instanceof z.ZodObject) {
        knownKeys.set(JSON.stringify(issue.path), Object.keys(issue.inst.shape));
      }
      return explain(issue);
    },
  });
  if (result.success) return { config: result.data };
  const findings = result.error.issues.flatMap((issue): Finding[] => {
    if (issue.code === 'unrecognized_keys') {
      const known = knownKeys.get(JSON.stringify(issue.path)) ?? [];
      return issue.keys.map((key) => ({ path: [...issue.path, key], message: unknownKey(key, known), what: 'key' }));
    }
    return [{ path: issue.path, message: issue.message, what: 'value' }];
  });
  return { findings };
}

function unknownKey(key: string, known: readonly string[]): string {
  const meant = nearest(key, known);
  if (meant !== null) return `unknown option; did you mean ${meant}?`;
  return `unknown option; known here: ${known.join(', ')}`;
}

function explain(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === 'invalid_type' || issue.code === 'invalid_value' || issue.code === 'invalid_union') {
    if (issue.input === undefined) return missing(issue.inst);
    if (issue.input === null) return 'is empty; fill it or delete the line';
  }
  if (issue.code === 'invalid_type')
    return `not ${article(issue.expected)}; ${EXPECTED[issue.expected] ?? 'see docs/config.md'}`;
  if (issue.code === 'invalid_value') return oneOf(issue.values.map(String), issue.input);
  if (issue.code === 'invalid_union') return unionMessage(issue);
  if (issue.code === 'too_small') {
    return issue.origin === 'array' ? 'an empty list; add an entry' : `too small; write at least ${issue.minimum}`;
  }
  return issue.code === 'too_big' ? `too big; write at most ${issue.maximum}` : undefined;
}

function missing(schema: unknown): string {
  const purpose = schema instanceof z.ZodType ? schema.description : undefined;
  return purpose === undefined ? 'is missing; add it' : `is missing; add it (${purpose})`;
}

const EXPECTED: Readonly<Record<string, string>> = {
  string: 'put it into quotes',
  boolean: 'write true or false',
  int: 'write a whole number',
  number: 'write a number',
  array: 'write - before each entry, or [a, b]',
  object: 'write options below it, indented',
  record: 'write names below it, indented',
};

function article(expected: string): string {
  const words: Readonly<Record<string, string>> = {
    string: 'a text',
    int: 'a whole number',
    array: 'a list',
    object: 'a block',
    record: 'a block',
  };
  return words[expected] ?? `a ${expected}`;
}

function unionMessage(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code !== 'invalid_union' || !('discriminator' in issue) || !Array.isArray(issue['options']))
    return undefined;
  const input = z.record(z.string(), z.unknown()).safeParse(issue.input);
  const found = input.data?.[String(issue['discriminator'])];
  if (found === undefined) return `is missing; write one of ${issue['options'].join(', ')}`;
  return oneOf(issue['options'].map(String), found);
}

function oneOf(values: readonly string[], input: unknown): string {
  const meant = typeof input === 'string' ? nearest(input, values) : null;
  const choice = values.length === 1 ? `write ${values[0]}` : `write one of ${values.join(', ')}`;
  return meant === null || values.length === 1
    ? `not known; ${choice}`
    : `not known; did you mean ${meant}? (${values.join(', ')})`;
}
