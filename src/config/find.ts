/** Which file is the config. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { StrongroomError } from '../core/errors.ts';
import type { Env } from './paths.ts';

const SYSTEM_FILE = '/etc/strongroom/strongroom.yaml';

/**
 * The first of: `flag`, `$STRONGROOM_CONFIG`, `strongroom.yaml` in `cwd`, /etc/strongroom/strongroom.yaml. What was
 * named is answered without a look: a wrong name must not fall through to another file. Rejects with E_CONFIG_INVALID
 * when nothing was named and neither default is there.
 */
export async function findConfig(flag: string | undefined, where: { env: Env; cwd: string }): Promise<string> {
  const named = flag ?? where.env['STRONGROOM_CONFIG'];
  if (named !== undefined && named !== '') return named;
  for (const candidate of [join(where.cwd, 'strongroom.yaml'), SYSTEM_FILE]) {
    const isThere = await stat(candidate).then(
      () => true,
      // Only "not there" lets the search go on: a config that may not be read is the config all the same.
      (e: unknown) => !(e instanceof Error && 'code' in e && (e.code === 'ENOENT' || e.code === 'ENOTDIR')),
    );
    if (isThere) return candidate;
  }
  throw new StrongroomError('E_CONFIG_INVALID', `no config: neither strongroom.yaml here nor ${SYSTEM_FILE}`, {
    hint: 'give --config <file> or set STRONGROOM_CONFIG; docs/config.md has an example',
  });
}
