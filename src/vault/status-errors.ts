/** What an HTTP status and body of a node mean. The only place that reads the servers' sentences. */
import { StrongroomError } from '../core/errors.ts';

/** An answer read in full, whatever its status. */
export type Answer = {
  status: number;
  /** lower-case names */
  headers: Readonly<Record<string, string>>;
  /** parsed JSON; undefined when the body is empty or not JSON */
  json: unknown;
  /** the sentences of `errors`, or the start of a body that is not JSON; what we sent as secret is cut out */
  errors: readonly string[];
};

export type Asked = {
  /** URL of the node */
  node: string;
  method: string;
  /** without `/v1/` and without the query */
  path: string;
  namespace?: string | undefined;
};

type Rule = { when: (text: string, answer: Answer, asked: Asked) => boolean; means: Verdict };
type Verdict = (text: string, answer: Answer, asked: Asked) => StrongroomError;

const CAPABILITY: Record<string, string> = { GET: 'read', HEAD: 'read', LIST: 'list', DELETE: 'delete' };

/** The policy that the call needs, as it is written in a policy file. POST and PUT need `update` (facts: `create` alone is refused). */
export function policyLine(method: string, path: string): string {
  return `path "${path}" { capabilities = ["${CAPABILITY[method] ?? 'update'}"] }`;
}

/** `Retry-After` in milliseconds: seconds or an HTTP date; null without one. */
export function retryAfterMs(headers: Readonly<Record<string, string>>, now: Date): number | null {
  const value = headers['retry-after'];
  if (value === undefined) return null;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? null : Math.max(0, date - now.getTime());
}

/** Scheme, host and port of a Location header; null when it is relative or no URL. Its path and query are nobody's business. */
export function locationOrigin(headers: Readonly<Record<string, string>>): string | null {
  const location = headers['location'];
  return location !== undefined && URL.canParse(location) ? new URL(location).origin : null;
}

// In order: the first that holds decides. The sentences are those of Vault 1.21 and OpenBao 2.6/2.7, seen or read in their source.
const RULES: readonly Rule[] = [
  {
    when: (_text, { status }) => status >= 300 && status < 400,
    means: redirected,
  },
  {
    when: (text) => /client sent an http request to an https server/i.test(text),
    means: (_text, _answer, { node }) =>
      new StrongroomError('E_VAULT_TLS', `${node} wants TLS`, {
        hint: `write https:// in place of http:// in the node's URL`,
        details: { node },
      }),
  },
  {
    when: (text, { status }) => status === 530 || /removed from (a|the) HA cluster/i.test(text),
    means: (_text, _answer, { node }) =>
      new StrongroomError('E_VAULT_REMOVED', `node ${node} was removed from its cluster`, {
        hint: "stop it, move its raft data away, and let it join again; unsealing and restarting don't help",
        details: { node },
      }),
  },
  {
    when: (text, { status }) => status === 501 || /not (yet )?initiali[sz]ed/i.test(text),
    means: (_text, _answer, { node }) =>
      new StrongroomError('E_VAULT_UNINITIALISED', `node ${node} is not initialised`, {
        hint: 'is this the right cluster? a new one is initialised by: bao operator init (or vault operator init)',
        details: { node },
      }),
  },
  {
    when: (text, { status }) => status === 503 && /is sealed/i.test(text),
    means: (_text, _answer, { node }) =>
      new StrongroomError('E_VAULT_SEALED', `node ${node} is sealed`, {
        hint: 'unseal it with the key shares; with auto-unseal, look at the KMS and at the log of the node',
        details: { node },
      }),
  },
  {
    when: (text) => /local node not active|node is not the (active|leader)/i.test(text),
    means: (_text, _answer, { node }) =>
      new StrongroomError('E_VAULT_STANDBY', `node ${node} is a standby and knows no active node`, {
        hint: 'an election may be under way (up to 20 s); else see whether enough voters are alive',
        details: { node },
      }),
  },
  {
    when: (text, _answer, asked) =>
      /operation (unavailable in namespaces|only available in root namespace)|namespace not found/i.test(text) ||
      (asked.namespace !== undefined && /no handler for route/i.test(text)),
    means: inNamespace,
  },
  {
    when: (text, { status }, { path }) =>
      /raft storage is not in use/i.test(text) ||
      (status === 404 && /unsupported path/i.test(text) && path.startsWith('sys/storage/raft/')),
    means: (_text, _answer, { node }) =>
      new StrongroomError('E_VAULT_NOT_RAFT', `the cluster of ${node} is not on integrated (raft) storage`, {
        hint: 'strongroom copies raft clusters only; look at the `storage` stanza of the server',
        details: { node },
      }),
  },
  { when: (_text, { status }) => status === 403, means: denied },
  { when: (_text, { status }) => status === 429, means: rateLimited },
];

/** The error that a refusing answer means. Call it for any status that is not what was hoped for. */
export function statusError(answer: Answer, asked: Asked): StrongroomError {
  const text = answer.errors.join('; ');
  const rule = RULES.find(({ when }) => when(text, answer, asked));
  return rule === undefined ? unexpected(text, answer, asked) : rule.means(text, answer, asked);
}

function redirected(_text: string, { status, headers }: Answer, { node, path }: Asked): StrongroomError {
  const location = locationOrigin(headers);
  const details = { node, status, ...(location === null ? {} : { location }) };
  if (status === 307 || status === 308) {
    const named = location === null ? 'the active node' : `the active node, said to be ${location}`;
    return new StrongroomError('E_VAULT_STANDBY', `node ${node} is a standby and points to ${named}; not followed`, {
      hint: "the active node has changed, or is not among the cluster's `nodes`: list every node there",
      details,
    });
  }
  return new StrongroomError('E_VAULT_RESPONSE', `${node} answers ${path} with a redirect (${status}); not followed`, {
    hint: 'a proxy or load balancer answers: write the addresses of the nodes themselves, with the right scheme',
    details,
    retryable: false,
  });
}

function inNamespace(text: string, _answer: Answer, { node, path, namespace }: Asked): StrongroomError {
  const where = namespace === undefined ? '' : ` "${namespace}"`;
  return new StrongroomError(
    'E_VAULT_NAMESPACE',
    `${path} on ${node} does not work in the namespace${where}: ${text}`,
    {
      hint: 'the namespace is for the login only, and must exist; snapshots are taken in the root namespace',
      details: { node, path, ...(namespace === undefined ? {} : { namespace }) },
    },
  );
}

function denied(text: string, _answer: Answer, { node, method, path }: Asked): StrongroomError {
  return new StrongroomError('E_VAULT_DENIED', `the token may not ${method} ${path} on ${node}`, {
    hint: `add to its policy: ${policyLine(method, path)} (a token that is invalid, or of another namespace, is refused in the same way)`,
    details: { node, path, server: text },
  });
}

function rateLimited(_text: string, { headers }: Answer, { node, path }: Asked): StrongroomError {
  const waitMs = retryAfterMs(headers, new Date());
  return new StrongroomError('E_VAULT_RATE_LIMITED', `a rate-limit quota of ${node} refuses ${path}`, {
    hint: `${waitMs === null ? 'wait and try again' : `try again in ${Math.ceil(waitMs / 1000)} s`}, or raise the quota (sys/quotas/rate-limit)`,
    details: { node, path, ...(waitMs === null ? {} : { retryAfterMs: waitMs }) },
  });
}

function unexpected(text: string, { status, json, headers }: Answer, { node, method, path }: Asked): StrongroomError {
  const said = text === '' ? '' : `: ${text}`;
  const foreign = json === undefined && status >= 400;
  return new StrongroomError('E_VAULT_RESPONSE', `${method} ${path} on ${node} gave ${status}${said}`, {
    hint: foreign
      ? 'this is not an answer of a node: a proxy or load balancer between? write the addresses of the nodes themselves'
      : text === 'internal error'
        ? 'look at the log of the node at this time; one whose audit devices cannot write (a full disk) answers everything so'
        : 'look at the log of the node at this time',
    details: { node, path, status, ...(foreign ? { contentType: headers['content-type'] ?? 'none' } : {}) },
    // What the node could not do now it may do later; what it does not understand it never will.
    retryable: status >= 500,
  });
}
