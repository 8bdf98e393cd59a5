/** Which pieces of source have run, by V8's own block coverage: no instrumentation, no dependency. */
import { type Profiler, Session } from 'node:inspector';

/** One mark for each character of a script. */
const ROOM = 256 * 1024;

type Fresh = { marks: Buffer; start: number; end: number };

export class Coverage implements Disposable {
  readonly #session = new Session();
  readonly #covers: readonly string[];
  readonly #marks = new Map<string, Buffer>();
  /** characters of source that have run so far */
  covered = 0;

  /** Counts from now on, in scripts whose URL contains one of `covers`. Whoever makes it disposes of it. */
  constructor(covers: readonly string[]) {
    this.#covers = covers;
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.startPreciseCoverage', { callCount: false, detailed: true });
  }

  /** Did anything run since the last call that had never run before? It has run from now on. */
  take(): boolean {
    const before = this.covered;
    for (const { marks, start, end } of this.#fresh()) {
      for (let at = start; at < end; at += 1) {
        if (marks[at] === 0) this.covered += 1;
        marks[at] = 1;
      }
    }
    return this.covered > before;
  }

  /** As {@link Coverage.take}, but nothing is remembered: running the same again tells the same. */
  peek(): boolean {
    return this.#fresh().length > 0;
  }

  #fresh(): Fresh[] {
    let result: Profiler.ScriptCoverage[] = [];
    // Within one thread the answer comes before post() returns.
    this.#session.post('Profiler.takePreciseCoverage', (e, taken) => {
      if (e !== null) throw e;
      result = taken.result;
    });
    const fresh: Fresh[] = [];
    for (const { url, functions } of result) {
      if (!this.#covers.some((part) => url.includes(part))) continue;
      const marks = this.#marks.get(url) ?? Buffer.alloc(ROOM);
      this.#marks.set(url, marks);
      for (const { ranges } of functions) fresh.push(...freshRanges(marks, ranges));
    }
    return fresh;
  }

  /** Forgets what has run: the next inputs are judged on their own. */
  forget(): void {
    this.take();
    this.#marks.clear();
    this.covered = 0;
  }

  [Symbol.dispose](): void {
    this.#session.disconnect();
  }
}

/** The first range is the function; those behind it lie inside, and are there because their count is another one. */
function freshRanges(marks: Buffer, ranges: readonly Profiler.CoverageRange[]): Fresh[] {
  if ((ranges[0]?.count ?? 0) === 0) return [];
  const fresh: Fresh[] = [];
  const edges = [...new Set(ranges.flatMap(({ startOffset, endOffset }) => [startOffset, endOffset]))];
  edges.sort((a, b) => a - b);
  // The innermost range decides: a stack of those that are open at a position.
  const open: Profiler.CoverageRange[] = [];
  let next = 0;
  for (const [i, start] of edges.entries()) {
    while ((open.at(-1)?.endOffset ?? Number.POSITIVE_INFINITY) <= start) open.pop();
    for (let range = ranges[next]; range !== undefined && range.startOffset <= start; range = ranges[next]) {
      open.push(range);
      next += 1;
    }
    const end = edges[i + 1];
    if (end === undefined || (open.at(-1)?.count ?? 0) === 0) continue;
    const first = marks.indexOf(0, start);
    if (first !== -1 && first < end) fresh.push({ marks, start: first, end: Math.min(end, marks.length) });
  }
  return fresh;
}
