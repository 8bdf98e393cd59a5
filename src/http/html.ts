/** The html`` tag: what is put in is text, unless it is html itself. Pages are made by nothing else. */
import { StrongroomError } from '../core/errors.ts';

/** Markup that was made by the tag. */
export class Html {
  readonly #markup: string;

  private constructor(markup: string) {
    this.#markup = markup;
  }

  toString(): string {
    return this.#markup;
  }

  /** Joins literals and values, which are escaped already. Only for the tag, and for what it made. */
  static join(strings: readonly string[], values: readonly string[]): Html {
    return new Html(strings.map((text, i) => text + (values[i] ?? '')).join(''));
  }
}

/** A link within this server; only such go into `href`, `src` and `action`. */
export class LocalUrl {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }
}

/** null and false are nothing; a list is its entries, one behind the other. */
export type Content = Html | LocalUrl | string | number | null | false | readonly Content[];

type Place = 'content' | 'url';

const places = new WeakMap<readonly string[], Place[]>();

/**
 * Markup in which every value is text: also in attributes, whose values must stand in double quotes. A value that is the
 * address of a link must be a {@link LocalUrl}. Throws E_BUG for a value where no escape would help: in a style, a script,
 * an event handler, or in an attribute without quotes.
 */
export function html(strings: TemplateStringsArray, ...values: readonly Content[]): Html {
  let known = places.get(strings);
  if (known === undefined) {
    known = values.map((_, i) => placeBehind(strings.slice(0, i + 1).join('')));
    places.set(strings, known);
  }
  const shown = values.map((value, i) => {
    if (known[i] === 'url' && !(value instanceof LocalUrl)) throw bug('a link that is no LocalUrl');
    return render(value);
  });
  return Html.join(strings, shown);
}

/** A link within this server: each value becomes one piece of the path or query, whatever is in it. */
export function url(strings: TemplateStringsArray, ...values: readonly string[]): LocalUrl {
  const path = strings.map((text, i) => text + piece(values[i])).join('');
  if (!/^\/(?!\/)/.test(path)) throw bug(`${path} does not lead to this server`);
  return new LocalUrl(path);
}

function piece(value: string | undefined): string {
  if (value === undefined) return '';
  // A browser takes dots for steps in the tree, also when they are escaped.
  if (/^\.{1,2}$/.test(value)) throw bug('a piece of a path that is only dots');
  return encodeURIComponent(value);
}

function render(value: Content): string {
  if (value instanceof Html) return value.toString();
  if (value instanceof LocalUrl) return escape(value.path);
  if (value === null || value === false) return '';
  if (typeof value === 'object') return value.map(render).join('');
  return escape(String(value));
}

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
  '`': '&#96;',
};

// Characters that no page shows, and some that turn the text around them: a name must not look like another one.
const UNSEEN = /(?![\t\n\r])[\p{Cc}\p{Bidi_Control}]/gu;

function escape(text: string): string {
  return text.replace(UNSEEN, '\ufffd').replace(/[&<>"'`]/g, (character) => ESCAPES[character] ?? '');
}

/** Where the value behind these literals stands. The literals are ours, so a simple look is enough. */
function placeBehind(before: string): Place {
  const tag = before.lastIndexOf('<');
  if (tag <= before.lastIndexOf('>')) {
    if (/<(script|style)\b[^<]*$/i.test(before)) throw bug('a value in a script or style');
    return 'content';
  }
  const inTag = before.slice(tag);
  const attribute = /\s([a-z0-9:-]+)="[^"]*$/i.exec(inTag)?.[1]?.toLowerCase();
  const isQuoted = (inTag.match(/"/g)?.length ?? 0) % 2 === 1;
  if (attribute === undefined || !isQuoted) {
    // Whole attributes are made by the tag too, and have no place to be checked; bare values are not.
    if (/\s$/.test(inTag)) return 'content';
    throw bug('an attribute without double quotes');
  }
  if (attribute.startsWith('on') || attribute === 'style' || attribute === 'srcdoc') {
    throw bug(`a value in ${attribute}`);
  }
  return ['href', 'src', 'action', 'formaction', 'xlink:href'].includes(attribute) ? 'url' : 'content';
}

function bug(what: string): StrongroomError {
  return new StrongroomError('E_BUG', `a page is not safe: ${what}`);
}
