/** How a command is defined: flags, arguments and help here, the body in commands/, loaded when it runs. */
import { buildCommand, type Command, type FlagParametersForType, type TypedCommandParameters } from '@stricli/core';
import { EXIT } from '../core/errors.ts';
import type { Context } from './context.ts';

/** The flags of every command. */
export type CommonFlags = { config?: string; json: boolean; verbose: boolean; pretty: boolean };

export const text = (value: string): string => value;

export const commonFlags: FlagParametersForType<CommonFlags, Context> = {
  config: {
    kind: 'parsed',
    parse: text,
    optional: true,
    placeholder: 'file',
    brief: 'Config file; default: $STRONGROOM_CONFIG, ./strongroom.yaml, /etc/strongroom/strongroom.yaml',
  },
  json: { kind: 'boolean', default: false, withNegated: false, brief: 'One JSON document on standard output' },
  verbose: {
    kind: 'boolean',
    default: false,
    withNegated: false,
    brief: 'Causes of failures; also STRONGROOM_DEBUG=1',
  },
  pretty: {
    kind: 'boolean',
    default: false,
    withNegated: false,
    brief: 'Log lines for eyes instead of JSON; default: log.format of the config',
  },
};

/** For commands about one cluster; its value goes to chooseCluster() of src/config. */
export const clusterFlag = {
  kind: 'parsed',
  parse: text,
  optional: true,
  placeholder: 'name',
  brief: 'Cluster; may be left out where the config has only one',
} as const;

export const commonAliases = { c: 'config', v: 'verbose' } as const;

type Flags = Readonly<Record<string, unknown>>;
type Args = readonly unknown[];

export type Definition<FLAGS extends Flags, ARGS extends Args> = {
  parameters: TypedCommandParameters<FLAGS, ARGS, Context>;
  brief: string;
  /** more than `brief`, for the command's own help */
  description?: string;
  /** for a command whose exit codes others have laid down */
  exitCodes?: Readonly<Record<number, string>>;
};

/** The one export of a file in commands/. Rejects with whatever went wrong; it never ends the process. */
export type Run<FLAGS extends Flags, ARGS extends Args = []> = (
  this: Context,
  flags: FLAGS,
  ...args: ARGS
) => Promise<void>;

const EXIT_MEANINGS: Record<keyof typeof EXIT, string> = {
  done: 'done, and proven',
  bug: 'a defect in strongroom',
  usage: 'wrong command line',
  partly: 'done in part: a copy or a wrap is missing',
  notFound: 'no such snapshot',
  locked: 'another run holds the cluster',
  key: 'a key is unavailable or wrong',
  verification: 'verification failed',
  refused: 'refused: a precondition or the confirmation is missing',
  config: 'the config is not usable',
  cluster: 'the cluster is sealed, without leader, quorum or answer',
  deviated: 'a drill or game day deviated',
  interrupted: 'stopped by a signal',
};

const EXIT_CODES = exitLines(
  Object.entries(EXIT_MEANINGS).map(([name, meaning]) => [EXIT[name as keyof typeof EXIT], meaning]),
);

function exitLines(codes: readonly (readonly [code: number | string, meaning: string])[]): string {
  return codes.map(([code, meaning]) => `  ${String(code).padStart(3)}  ${meaning}`).join('\n');
}

/** A command for the route map; `load` imports its body. */
export function command<FLAGS extends Flags, ARGS extends Args>(
  definition: Definition<FLAGS, ARGS>,
  load: () => Promise<{ run: Run<FLAGS, ARGS> }>,
): Command<Context> {
  return buildCommand<FLAGS, ARGS, Context>({
    loader: async () => (await load()).run,
    parameters: definition.parameters,
    docs: {
      brief: definition.brief,
      fullDescription: `${definition.description ?? `${definition.brief}.`}\n\nEXIT CODES\n${
        definition.exitCodes === undefined ? EXIT_CODES : exitLines(Object.entries(definition.exitCodes))
      }`,
    },
  });
}
