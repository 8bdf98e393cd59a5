/** The schema as JSON Schema, and as the Markdown page of all options. */
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { configSchema } from './schema.ts';

/** For editors (`# yaml-language-server: $schema=…`) and CI: the shape of the file as it is written. */
export function configJsonSchema(): Record<string, unknown> {
  return { ...z.toJSONSchema(configSchema, { io: 'input' }), title: 'strongroom configuration' };
}

// The part of JSON Schema that our own schema uses.
type Node = {
  type?: string;
  const?: string | number;
  enum?: unknown[];
  default?: unknown;
  description?: string;
  pattern?: string;
  properties?: Record<string, Node>;
  required?: string[];
  additionalProperties?: Node | false;
  items?: Node;
  oneOf?: Node[];
  anyOf?: Node[];
};
const node: z.ZodType<Node> = z.lazy(() =>
  z.looseObject({
    type: z.string().exactOptional(),
    const: z.union([z.string(), z.number()]).exactOptional(),
    enum: z.array(z.unknown()).exactOptional(),
    description: z.string().exactOptional(),
    pattern: z.string().exactOptional(),
    properties: z.record(z.string(), node).exactOptional(),
    required: z.array(z.string()).exactOptional(),
    additionalProperties: z.union([node, z.literal(false)]).exactOptional(),
    items: node.exactOptional(),
    oneOf: z.array(node).exactOptional(),
    anyOf: z.array(node).exactOptional(),
  }),
);

const INTRO = `# Configuration

One YAML file: \`--config <file>\`, else \`$STRONGROOM_CONFIG\`, else \`./strongroom.yaml\`, else
\`/etc/strongroom/strongroom.yaml\`. Unknown options are errors. \`strongroom config check\` reports every mistake
with its line and column, \`strongroom config schema\` prints the JSON Schema for editors.

- **reference**: \`env:NAME\` or \`file:/path\`. A secret is only ever given so, never as text; it is read when it is needed.
  Relative paths start at the folder of the config file; \`~/\` is the home folder; one newline at the end of a file is cut.
- **duration**: a number and \`ms\`, \`s\`, \`m\`, \`h\`, \`d\` or \`w\`, such as \`30m\`.
- **size**: a number and \`B\`, \`kB\`, \`MB\`, \`GB\`, \`TB\`, \`KiB\`, \`MiB\`, \`GiB\` or \`TiB\`, such as \`20GiB\`.
- **percentage**: such as \`50%\`.

This page is generated from the schema by \`npm run docs\`.
`;

/** docs/config.md: one table for each block of the file. */
export function renderReference(): string {
  const root = node.parse(configJsonSchema());
  const page: Page = { sections: [INTRO], seen: new Map() };
  renderBlock('the file', root, page);
  return page.sections.join('\n');
}

/** `seen` = what was rendered already, and where: AWS credentials and KMS keys stand in many places. */
type Page = { sections: string[]; seen: Map<Node['properties'], string> };

function renderBlock(path: string, block: Node, page: Page): void {
  const variants = block.oneOf ?? [block];
  for (const variant of variants) {
    const title = variants.length === 1 ? `\`${path}\`` : `\`${path}\`, ${discriminatorOf(variant)}`;
    const heading = path === 'the file' ? '## The file' : `## ${title}`;
    const [, twin] = [...page.seen].find(([properties]) => isDeepStrictEqual(properties, variant.properties)) ?? [];
    if (twin !== undefined) {
      page.sections.push(`${heading}\n\nThe options of ${twin}.\n`);
      continue;
    }
    page.seen.set(variant.properties, title);
    page.sections.push([heading, '', ...renderTable(variant), ''].join('\n'));
    for (const [name, option] of Object.entries(variant.properties ?? {})) {
      const below = path === 'the file' ? name : `${path}.${name}`;
      const nested = blockOf(option);
      if (nested === null) continue;
      // The same options as the top-level block, only without their defaults.
      if (below === 'clusters.<name>.encryption') {
        page.sections.push(`## \`${below}\`\n\nThe options of \`encryption\`; one given here replaces that one.\n`);
      } else {
        renderBlock(`${below}${nested.suffix}`, nested.block, page);
      }
    }
  }
}

function renderTable(block: Node): string[] {
  const rows = Object.entries(block.properties ?? {}).map(([name, option]) => {
    const cells = [`\`${name}\``, typeOf(option), defaultOf(name, option, block), option.description ?? ''];
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  });
  return ['| option | value | default | meaning |', '|---|---|---|---|', ...rows];
}

/** The block that an option opens: its own, that of its entries, or that of its names. */
function blockOf(option: Node): { block: Node; suffix: string } | null {
  if (option.properties !== undefined) return { block: option, suffix: '' };
  if (option.oneOf?.every((variant) => variant.properties !== undefined) === true) return { block: option, suffix: '' };
  const items = option.items === undefined ? null : blockOf(option.items);
  if (items !== null) return { ...items, suffix: '[]' };
  const names = option.additionalProperties;
  const named = names === undefined || names === false ? null : blockOf(names);
  return named === null ? null : { ...named, suffix: '.<name>' };
}

function discriminatorOf(variant: Node): string {
  const found = Object.entries(variant.properties ?? {}).find(([, option]) => option.const !== undefined);
  return found === undefined ? '' : `\`${found[0]}: ${String(found[1].const)}\``;
}

function defaultOf(name: string, option: Node, block: Node): string {
  if (block.required?.includes(name) === true) return '**required**';
  if (option.default === undefined) return '';
  if (typeof option.default === 'object' && blockOf(option)?.suffix === '') return '';
  return `\`${typeof option.default === 'string' && option.default !== '' ? option.default : JSON.stringify(option.default)}\``;
}

function typeOf(option: Node): string {
  if (option.const !== undefined) return `\`${String(option.const)}\``;
  if (option.enum !== undefined) return option.enum.map((value) => `\`${String(value)}\``).join(', ');
  if (option.anyOf !== undefined) return option.anyOf.map(typeOf).join(' or ');
  if (option.items !== undefined) return `list of ${typeOf(option.items)}`;
  if (blockOf(option)?.suffix === '.<name>') return 'blocks by name';
  if (option.additionalProperties !== undefined && option.additionalProperties !== false) {
    return `names with ${typeOf(option.additionalProperties)}`;
  }
  if (option.properties !== undefined || option.oneOf !== undefined) return 'block';
  if (option.type === 'integer') return 'whole number';
  if (option.type === 'boolean') return '`true` or `false`';
  return textType(option.pattern);
}

function textType(pattern: string | undefined): string {
  if (pattern === undefined) return 'text';
  if (pattern.includes('file:'))
    return pattern.includes('|-----BEGIN') || pattern.includes('|^') ? 'text or reference' : 'reference';
  if (pattern.includes('(?:ms|s|m')) return pattern.includes('none|') ? 'duration or `none`' : 'duration';
  if (pattern.includes('KiB|MiB')) return 'size';
  return pattern.endsWith('%$') ? 'percentage' : 'text';
}
