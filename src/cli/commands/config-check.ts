import { advise } from '../../config/advice.ts';
import { type Config, references } from '../../config/load.ts';
import { isError, StrongroomError } from '../../core/errors.ts';
import type { Run } from '../define.ts';
import type { ConfigCheckFlags } from '../definitions/config.ts';
import { keyValues } from '../output.ts';

export const run: Run<ConfigCheckFlags> = async function (flags) {
  const config = await this.config(flags.config);
  const read = flags.resolve ? await resolveAll(config, this.signal) : null;
  const advice = advise(config);
  const document = {
    valid: true,
    file: config.file,
    clusters: Object.keys(config.clusters),
    destinations: Object.keys(config.destinations),
    /** references that were read; null = not asked for */
    referencesRead: read,
    advice,
  };
  this.output.result(document, () =>
    [
      keyValues([
        ['config', `${config.file} is valid`],
        ['clusters', document.clusters.join(', ')],
        ['destinations', document.destinations.join(', ')],
        ['references', read === null ? 'not read (--no-resolve)' : `all ${read} lead to a value`],
      ]),
      ...advice.map((line) => `advice: ${line}`),
    ].join('\n'),
  );
};

/** How many there are. Rejects with one error for all that lead nowhere. */
async function resolveAll(config: Config, signal: AbortSignal): Promise<number> {
  const all = references(config);
  const results = await Promise.allSettled(all.map(({ reference }) => reference.resolve(signal)));
  signal.throwIfAborted();
  const failures: StrongroomError[] = [];
  for (const result of results) {
    if (result.status === 'fulfilled') continue;
    if (!isError(result.reason)) throw result.reason;
    failures.push(result.reason);
  }
  const [first] = failures;
  if (first === undefined) return all.length;
  if (failures.length === 1) throw first;
  const lines = failures.map(({ message, hint }) => (hint === undefined ? message : `${message}; ${hint}`));
  throw new StrongroomError(
    'E_CONFIG_INVALID',
    `${failures.length} references in ${config.file} lead nowhere\n${lines.join('\n')}`,
    { hint: 'or, to check the file alone: strongroom config check --no-resolve', details: { problems: lines } },
  );
}
