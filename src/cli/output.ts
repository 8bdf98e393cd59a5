/** Text or JSON. Standard output is data, standard error is talk, and secrets are neither. */
import { printable } from './failure.ts';
import type { Host, Mode } from './host.ts';

export type Output = {
  readonly json: boolean;
  readonly verbose: boolean;
  /** The result of the command, once: `document` in JSON mode, else what `text` gives (without a newline at its end). */
  result(document: unknown, text: () => string): void;
  /** One line of talk for people; nothing in JSON mode. */
  say(line: string): void;
  /** As {@link Output.say}, and in JSON mode a line `{"warning": …}` on standard error. */
  warn(line: string): void;
};

export function createOutput(host: Pick<Host, 'stdout' | 'stderr'>, mode: Pick<Mode, 'json' | 'verbose'>): Output {
  return {
    ...mode,
    result(document, text) {
      const indent = host.stdout.isTTY === true ? 2 : 0;
      host.stdout.write(`${mode.json ? JSON.stringify(document, null, indent) : text()}\n`);
    },
    say(line) {
      if (!mode.json) host.stderr.write(`${printable(line)}\n`);
    },
    warn(line) {
      host.stderr.write(mode.json ? `${JSON.stringify({ warning: line })}\n` : `warning: ${printable(line)}\n`);
    },
  };
}

export type Column<Row> = { title: string; value: (row: Row) => string; align?: 'left' | 'right' };

/** Rows under their titles, columns two spaces apart; no newline at the end. No rows: only the titles. */
export function table<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string {
  const lines = [
    columns.map(({ title }) => title),
    ...rows.map((row) => columns.map(({ value }) => printable(value(row)))),
  ];
  const widths = columns.map((_, index) => Math.max(...lines.map((cells) => cells[index]?.length ?? 0)));
  return lines
    .map((cells) =>
      cells
        .map((cell, index) => {
          const width = widths[index] ?? 0;
          return columns[index]?.align === 'right' ? cell.padStart(width) : cell.padEnd(width);
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** `name   value`, one a line, values below each other; entries without a value are left out. */
export function keyValues(entries: readonly (readonly [name: string, value: string | undefined])[]): string {
  const shown = entries.filter((entry): entry is readonly [string, string] => entry[1] !== undefined);
  const width = Math.max(0, ...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${name.padEnd(width)}  ${printable(value)}`.trimEnd()).join('\n');
}
