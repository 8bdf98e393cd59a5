import { StrongroomError } from '../../core/errors.ts';
import { parseListen } from '../../core/listen.ts';
import { openLog } from '../../core/log.ts';
import { systemClock } from '../../core/units.ts';
import type { Run } from '../define.ts';
import type { ServeFlags } from '../definitions/serve.ts';

export const run: Run<ServeFlags> = async function (flags) {
  const config = await this.config(flags.config);
  const listen = parseListen(flags.listen ?? config.serve.listen);
  if (listen === null) {
    throw new StrongroomError('E_USAGE', `--listen "${flags.listen ?? ''}" is no address to listen on`, {
      hint: 'write host:port, such as 127.0.0.1:9464 or [::1]:9464',
    });
  }
  const { serve } = await import('../../watch/serve.ts');
  await serve(
    {
      config,
      load: () => this.config(config.file),
      listen,
      clock: systemClock,
      log: openLog(config.log),
      onListening: (url) => this.output.result({ listening: url }, () => `listening on ${url}`),
    },
    this.signal,
  );
};
