/** YAML to plain data, and from a path in the data back to line and column. */
import { type Document, isAlias, isMap, isNode, isPair, isScalar, isSeq, type Node, parseDocument } from 'yaml';

export type Position = { line: number; column: number };
export type Path = readonly PropertyKey[];

export type Source = {
  /** null = the text is no YAML; `mistakes` says why */
  data: unknown;
  mistakes: readonly { at: Position; message: string }[];
  /** Where the value of `path` stands; for what is missing, the nearest thing above it. `key` = the key, not the value. */
  locate(path: Path, what?: 'key' | 'value'): Position;
};

/** Of one anchor, those within other aliases counted in: a thousand clusters may share each of their blocks, and a billion laughs may not. */
const MAX_USES = 10_000;

// The parser's own words for these repeat a piece of the text, and the text may hold a secret.
const QUIET: Readonly<Record<string, string>> = {
  BAD_ALIAS: 'an alias (*name) without its anchor (&name); put a value that begins with * into quotes',
  BAD_DQ_ESCAPE: 'an unknown escape in double quotes; use single quotes',
  BAD_SCALAR_START: 'a value begins with a reserved character; put it into quotes',
  TAG_RESOLVE_FAILED: 'an unknown tag (!name); put a value that begins with ! into quotes',
  UNEXPECTED_TOKEN: 'something stands where nothing can; check quotes, indentation and brackets',
  DUPLICATE_KEY: 'the key stands here twice; delete one',
  MULTIPLE_DOCS: 'a second document begins; keep one document in a file',
};

/** Parses `text` as one YAML 1.2 document. Never throws, and never repeats a value. */
export function parseSource(text: string): Source {
  const document = parseDocument(text, { prettyErrors: false, uniqueKeys: true });
  const at = positionsIn(text);
  const mistakes = document.errors.map((e) => ({
    at: at(e.pos[0]),
    message: QUIET[e.code] ?? `${e.message.charAt(0).toLowerCase()}${e.message.slice(1)}`,
  }));
  let data: unknown = null;
  if (mistakes.length === 0) {
    try {
      data = document.toJS({ maxAliasCount: MAX_USES });
    } catch {
      const alias = unresolved(document, document.contents);
      mistakes.push(
        alias === null
          ? { at: at(0), message: 'the aliases (*name) stand for too much; write it out' }
          : { at: at(alias.range?.[0] ?? 0), message: QUIET['BAD_ALIAS'] ?? '' },
      );
    }
  }
  return { data, mistakes, locate: (path, what = 'value') => locate(document, at, path, what) };
}

/** From an offset to its place. The parser's own counter misses the ends of lines that it passes over after a mistake. */
function positionsIn(text: string): (offset: number) => Position {
  const starts = [0];
  for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n', end + 1)) starts.push(end + 1);
  return (offset) => {
    let [low, high] = [0, starts.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return { line: low + 1, column: Math.max(1, offset - (starts[low] ?? 0) + 1) };
  };
}

function locate(document: Document, at: (offset: number) => Position, path: Path, what: 'key' | 'value'): Position {
  let node: Node | null = document.contents;
  let best = node?.range?.[0] ?? 0;
  for (const [depth, step] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document) ?? null;
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
      if (pair === undefined) break;
      const key = isNode(pair.key) ? pair.key : null;
      const value: Node | null = isNode(pair.value) ? pair.value : null;
      const isLast = depth === path.length - 1;
      const isBlank = isScalar(value) && value.value === null;
      // A missing or nested thing is shown at its key: "primary:", not the first line below it.
      const pick = (isLast && what === 'key') || isBlank || !isScalar(value) ? key : value;
      best = pick?.range?.[0] ?? best;
      node = value;
    } else if (isSeq(node)) {
      const item: unknown = node.items[Number(step)];
      if (!isNode(item)) break;
      best = item.range?.[0] ?? best;
      node = item;
    } else {
      break;
    }
  }
  return at(best);
}

/** The first alias below `node` without an anchor before it; null when each has one. */
function unresolved(document: Document, node: unknown): Node | null {
  if (isAlias(node)) return node.resolve(document) === undefined ? node : null;
  if (isPair(node)) return unresolved(document, node.key) ?? unresolved(document, node.value);
  if (!isMap(node) && !isSeq(node)) return null;
  for (const item of node.items) {
    const found = unresolved(document, item);
    if (found !== null) return found;
  }
  return null;
}
