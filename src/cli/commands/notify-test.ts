import { nearest } from '../../config/suggest.ts';
import { isError, StrongroomError } from '../../core/errors.ts';
import { systemClock } from '../../core/units.ts';
import type { Run } from '../define.ts';
import type { NotifyTestFlags } from '../definitions/notify.ts';
import { table } from '../output.ts';

export const run: Run<NotifyTestFlags> = async function (flags) {
  const config = await this.config(flags.config);
  const { testSinks } = await import('../../notifications.ts');
  const names = Object.keys(config.notifications.sinks);
  if (names.length === 0) {
    throw new StrongroomError('E_CONFIG_INVALID', `${config.file} has no notification sink`, {
      hint: 'add one below notifications.sinks; docs/notifications.md has examples',
    });
  }
  const only = flags.sink;
  if (only !== undefined && !names.includes(only)) {
    const meant = nearest(only, names);
    throw new StrongroomError('E_USAGE', `${config.file} has no notification sink "${only}"`, {
      hint: meant === null ? `it has ${names.join(', ')}` : `did you mean ${meant}?`,
    });
  }
  const chosen = only === undefined ? names : [only];
  const results = await testSinks(config, chosen, systemClock, this.signal);
  const sinks = results.map(({ error, ...sink }) => ({ ...sink, error: error?.toJSON() ?? null }));
  this.output.result({ sinks }, () =>
    table(results, [
      { title: 'SINK', value: ({ name }) => name },
      { title: 'TYPE', value: ({ type }) => type },
      { title: 'TOOK IT', value: ({ isTaken }) => (isTaken ? 'yes' : 'NO') },
      { title: 'WHY NOT', value: ({ error }) => (isError(error) ? whyNot(error) : '') },
    ]),
  );
  const failed = results.filter(({ isTaken }) => !isTaken).map(({ name }) => name);
  if (failed.length === 0) return;
  throw new StrongroomError(
    'E_PARTIAL',
    `${failed.length} of ${results.length} sinks did not take the test: ${failed.join(', ')}`,
    { hint: 'correct the config or the sink, then: strongroom notify test --sink <name>' },
  );
};

function whyNot({ message, hint }: StrongroomError): string {
  return hint === undefined ? message : `${message}; ${hint}`;
}
