/** A restore keeps others out where it can, and works where it cannot. */
import { describe, expect, it } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import { newRunId, parseClusterName } from '../../../src/core/ids.ts';
import { createLog } from '../../../src/core/log.ts';
import type { Lease } from '../../../src/lease/lease.ts';
import { beAlone, checkAlone } from '../../../src/restore/alone.ts';
import type { RestoreDeps } from '../../../src/restore/options.ts';

const never = new AbortController().signal;
const run = newRunId(new Date());

function scene(takeLease: RestoreDeps['takeLease']): { deps: Parameters<typeof beAlone>[0]; lines: string[] } {
  const lines: string[] = [];
  const log = createLog('warn', { write: (line: string) => void lines.push(line) });
  return { deps: { into: parseClusterName('prod'), log, onProgress: () => undefined, takeLease }, lines };
}

function leaseLost(details: Record<string, unknown> | null): Lease {
  const lost = new AbortController();
  if (details !== null) lost.abort(new StrongroomError('E_LOCKED', 'the lease was lost', { details }));
  return {
    token: 1,
    signal: lost.signal,
    heldIn: [],
    willPublish: () => Promise.resolve([]),
    confirm: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

describe('a restore', () => {
  it('goes on without the lease when no destination gives it, and says so before the confirmation', async () => {
    const gone = new StrongroomError('E_STORE_UNREACHABLE', 'the bucket is gone');
    const { deps, lines } = scene(() => Promise.reject(gone));
    const { lease, notice } = await beAlone(deps, run, never);
    expect(lease).toBeNull();
    expect(notice).toEqual([expect.stringMatching(/bucket is gone.+make sure by yourself/)]);
    expect(lines.join()).toContain('restoring without the lease');
  });

  it('is refused while another run is at work on the target', async () => {
    const { deps } = scene(() => Promise.reject(new StrongroomError('E_LOCKED', 'held')));
    await expect(beAlone(deps, run, never)).rejects.toMatchObject({ code: 'E_LOCKED' });
  });

  it('is stopped by an abort, and by a defect', async () => {
    const { deps } = scene(() => Promise.reject(new StrongroomError('E_STORE_UNREACHABLE', 'cut off')));
    await expect(beAlone(deps, run, AbortSignal.abort(new Error('stop')))).rejects.toThrow('stop');
    await expect(beAlone(scene(() => Promise.reject(new TypeError('x'))).deps, run, never)).rejects.toThrow(TypeError);
  });

  it('installs nothing after another run has taken the lease, and goes on after mere silence', () => {
    const { deps, lines } = scene(() => Promise.reject(new Error('not asked')));
    expect(() => checkAlone(deps, leaseLost({ lost: 'taken' }))).toThrow('the lease was lost');
    expect(lines).toEqual([]);
    checkAlone(deps, leaseLost({ lost: 'silence' }));
    expect(lines.join()).toContain('the restore goes on');
    checkAlone(deps, leaseLost(null));
    checkAlone(deps, null);
  });
});
