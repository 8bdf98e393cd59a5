import { resolve } from 'node:path';
import { StrongroomError } from '../../core/errors.ts';
import { formatBytes } from '../../core/units.ts';
import type { ExportResult } from '../../snapshots/export.ts';
import type { Run } from '../define.ts';
import type { SnapshotsExportFlags } from '../definitions/snapshots.ts';
import { keyValues } from '../output.ts';
import { openSnapshots, readManifest } from '../snapshots.ts';

export const run: Run<SnapshotsExportFlags, [snapshot: string]> = async function (flags, id) {
  refuseStream(flags.output);
  const [{ exportSnapshot }, { planTarget }] = await Promise.all([
    import('../../snapshots/export.ts'),
    import('../../snapshots/plain-target.ts'),
  ]);
  const target = await planTarget(resolve(this.cwd, flags.output));
  await using snapshots = await openSnapshots(this, flags);
  const found = await readManifest(snapshots.deps, id, this.signal);
  const result = await exportSnapshot(snapshots.deps, found, target, this.signal);
  snapshots.endProgress();
  const unasked = found.unasked.map((e) => `not every destination could be asked for the latest: ${e.message}`);
  const warnings = [...result.warnings, ...unasked];
  for (const warning of warnings) this.output.warn(warning);
  const restore = restoreCommands(result.output);
  this.output.result({ ...result, warnings, restore }, () => summarise(result, restore));
};

function refuseStream(output: string): void {
  if (output !== '' && output !== '-' && !output.endsWith('/')) return;
  throw new StrongroomError('E_USAGE', `--output ${output === '' ? "''" : output} is not the name of a file`, {
    hint: 'a plain snapshot is never written to standard output: name a new file',
  });
}

/** By hand, into a cluster that is not the very one of the snapshot, or whose keys have changed since: both want -force. */
function restoreCommands(output: string): { bao: string; vault: string } {
  const file = /^[\w@%+=:,./-]+$/.test(output) ? output : `'${output.replaceAll("'", `'\\''`)}'`;
  const command = (program: string): string => `${program} operator raft snapshot restore -force ${file}`;
  return { bao: command('bao'), vault: command('vault') };
}

function summarise(result: ExportResult, restore: { bao: string; vault: string }): string {
  const { product, productVersion, seal } = result;
  const program = { openbao: 'bao', vault: 'vault', unknown: 'the program of its own product' }[product];
  return [
    keyValues([
      ['exported', result.output],
      ['snapshot', `${result.snapshot} of ${result.cluster}, taken ${result.createdAt}`],
      ['bytes', `${result.bytes} (${formatBytes(result.bytes)}), every one verified`],
      ['sha256', result.sha256],
      ['raft', `index ${result.raft.index}, term ${result.raft.term}`],
      ['product', `${product} ${productVersion ?? '(version unknown)'}`],
      ['seal', seal.type === 'shamir' ? `shamir, ${seal.threshold} of ${seal.shares} shares` : seal.type],
      ['copy', `${result.copy.destination}: ${result.copy.location}`],
      ['opened with', result.openedWith],
      ...result.cautions.map((caution) => ['caution', caution] as const),
    ]),
    `to restore it by hand, with ${program} only (without -force where neither cluster nor keys have changed):`,
    `  ${restore.bao}`,
    `  ${restore.vault}`,
  ].join('\n');
}
