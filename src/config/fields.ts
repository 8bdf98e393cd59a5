/** The kinds of value that options are made of. A message says what is wrong, a semicolon, and what to write instead. */
import { z } from 'zod';
import { parseDuration, parseSize } from '../core/units.ts';
import { REFERENCE, SecretRef, TextRef } from './secret.ts';

/** Answers `message` for a value of the wrong type or form; a missing or empty one is explained by the loader. */
function unless(message: string): (issue: { input?: unknown }) => string | undefined {
  return (issue) => (issue.input === undefined || issue.input === null ? undefined : message);
}

/** "30m": milliseconds above zero. */
export function duration() {
  const error = unless('not a duration; write a number and a unit, such as 30s, 6h or 30d');
  return z
    .string({ error })
    .regex(/^\d+(?:\.\d+)?\s*(?:ms|s|m|h|d|w)$/, { error })
    .transform(parseDuration)
    .refine((ms) => ms > 0, { error: 'no time at all; write more than zero' });
}

/** A {@link duration}, or "none": null. */
export function durationOrNone() {
  const error = unless('not a duration; write a number and a unit, such as 30s, 6h or 30d, or none');
  return z
    .string({ error })
    .regex(/^(?:none|\d+(?:\.\d+)?\s*(?:ms|s|m|h|d|w))$/, { error })
    .transform((text) => (text === 'none' ? null : parseDuration(text)))
    .refine((ms) => ms === null || ms > 0, { error: 'no time at all; write more than zero, or none' });
}

/** "2027-03-10T08:00:00Z": a moment. With its zone, or nobody knows which eight o'clock it is. */
export function time() {
  const error = unless(
    'not a time; write date, time and zone, such as 2027-03-10T08:00:00Z or 2027-03-10T09:00:00+01:00',
  );
  return z
    .string({ error })
    .refine((text) => z.iso.datetime({ offset: true }).safeParse(text).success, { error, abort: true })
    .transform((text) => new Date(text));
}

/** "20GiB": bytes. */
export function size() {
  const error = unless('not a size; write a number and a unit, such as 512MiB or 20GB');
  return z
    .string({ error })
    .regex(/^\d+(?:\.\d+)?\s*(?:B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)$/, { error })
    .transform(parseSize);
}

/** "50%" to 0.5. */
export function percent() {
  const error = unless('not a percentage; write a number from 0% to 100%, such as 50%');
  return z
    .string({ error })
    .regex(/^\d{1,3}(?:\.\d+)?%$/, { error })
    .transform((text) => Number(text.slice(0, -1)) / 100)
    .refine((part) => part <= 1, { error: 'above 100%; write at most 100%' });
}

/** A secret: only where it is kept, never itself. The messages must not repeat what was written. */
export function secret() {
  const error = unless('a secret in plain text; write env:NAME or file:/path, and put the secret there');
  return z
    .string({ error })
    .regex(REFERENCE, { error })
    .transform((source) => new SecretRef(source));
}

/** A text of some form, in the config itself or as `env:NAME` or `file:/path`. `what` is for the message. */
export function text(form: RegExp, what: string) {
  const pattern = new RegExp(`${REFERENCE.source}|${form.source}`);
  const error = unless(`not ${what}; write it here, or file:/path or env:NAME`);
  return z
    .string({ error })
    .refine((value) => !/PRIVATE KEY|AGE-SECRET-KEY-/.test(value), {
      error:
        'a private key where everyone reads; write the public half, and replace that key: it is no secret any more',
      abort: true,
    })
    .regex(pattern, { error })
    .transform((source) => new TextRef(source));
}

export function certificate() {
  return text(/^-----BEGIN CERTIFICATE-----/, 'a PEM certificate');
}

/** An http or https address: scheme, host and port, nothing else. Comes out without a slash at its end. */
export function origin(what: string) {
  const error = unless(`not the address of ${what}; write https://host:port, without a path or a password`);
  return z
    .string({ error })
    .refine((value) => isOrigin(value), { error })
    .transform((value) => new URL(value).origin);
}

function isOrigin(value: string): boolean {
  const url = URL.parse(value);
  return (
    url !== null &&
    (url.protocol === 'https:' || url.protocol === 'http:') &&
    url.username === '' &&
    url.password === '' &&
    url.pathname === '/' &&
    url.search === '' &&
    url.hash === ''
  );
}

/** The address of one Redis: scheme, host and port, nothing else. Comes out with its port. */
export function redisUrl() {
  const error = unless(
    'not the address of Redis; write redis://host:port or rediss://host:port; user, password and database are options of their own',
  );
  return z
    .string({ error })
    .refine((value) => isRedisUrl(value), { error })
    .transform((value) => {
      const { protocol, hostname, port } = new URL(value);
      return `${protocol}//${hostname}:${port === '' ? 6379 : port}`;
    });
}

function isRedisUrl(value: string): boolean {
  const url = URL.parse(value);
  if (url === null || !/^rediss?:$/.test(url.protocol)) return false;
  return (
    url.hostname !== '' &&
    url.port !== '0' &&
    `${url.username}${url.password}${url.search}${url.hash}` === '' &&
    /^\/?$/.test(url.pathname)
  );
}

/** `redis-0:6379` or `[::1]:6379`. */
export function hostPort(what: string) {
  const error = unless(`not the address of ${what}; write host:port, without a scheme`);
  return z
    .string({ error })
    .regex(/^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}$/, { error })
    .refine((value) => isPort(value.slice(value.lastIndexOf(':') + 1)), { error });
}

function isPort(text: string): boolean {
  const port = Number(text);
  return port >= 1 && port <= 65_535;
}

/** Names of clusters and destinations: they become folders of object keys and arguments of commands. */
export const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** Anything but nothing. */
export function word() {
  return z.string().min(1, { error: 'is empty; fill it or delete the line' });
}

/** A path on this machine; relative ones start at the config file's folder (see load.ts). */
export function path() {
  return word();
}

/** Why a safeguard is declined: in words, so that whoever reads the config later can judge it. */
export function reason() {
  return z.string().refine((value) => value.trim().split(/\s+/).length >= 3 && value.trim().length >= 12, {
    error: 'too short for a reason; say in words why, for whoever reads this after you',
  });
}

/** A list without doubles; `same` gives what makes two entries the same. */
export function list<T extends z.ZodType>(entry: T, same: (value: z.output<T>) => string) {
  return z.array(entry).superRefine((entries, context) => {
    const seen = new Set<string>();
    for (const [index, value] of entries.entries()) {
      const key = same(value);
      if (seen.has(key)) context.addIssue({ code: 'custom', path: [index], message: 'stands here twice; delete one' });
      seen.add(key);
    }
  });
}

/**
 * A rule over several fields of one object. Runs as soon as exactly these fields are good by themselves, so that one
 * run shows every mistake; `report` takes the path below the object and the message.
 */
export function rule<T extends object>(
  fields: readonly (keyof T & string)[],
  test: (value: T, report: (path: readonly string[], message: string) => void) => void,
) {
  return z.superRefine<T>(
    (value, context) => {
      test(value, (path, message) => context.addIssue({ code: 'custom', path: [...path], message }));
    },
    {
      when: ({ value, issues }) =>
        typeof value === 'object' &&
        value !== null &&
        // A list is an object too, and none of the fields is in it.
        !Array.isArray(value) &&
        !issues.some(({ path }) => fields.some((field) => path?.[0] === field)),
    },
  );
}
