/** The metrics of the process itself. */
import { TOOL_VERSION } from '../version.ts';
import type { Sample } from './exposition.ts';

/** `isConfigValid`: is the file on disk what is in force? */
export function processSamples({ isConfigValid }: { isConfigValid: boolean }): Sample[] {
  return [
    { name: 'strongroom_info', labels: { version: TOOL_VERSION }, value: 1 },
    { name: 'strongroom_config_valid', labels: {}, value: Number(isConfigValid) },
  ];
}
