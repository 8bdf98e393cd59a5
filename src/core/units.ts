/** "6h", "64MiB": what people write in a config, and what they read in a report. */
import { StrongroomError } from './errors.ts';

const DURATION: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
const SIZE: Record<string, number> = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

function parseUnit(text: string, units: Record<string, number>, what: string, example: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]+)$/.exec(text.trim());
  const factor = match?.[2] === undefined ? undefined : units[match[2]];
  if (match === null || factor === undefined) {
    throw new StrongroomError('E_CONFIG_INVALID', `"${text}" is not a ${what}`, {
      hint: `write a number and a unit, such as ${example}; units: ${Object.keys(units).join(', ')}`,
    });
  }
  return Math.round(Number(match[1]) * factor);
}

/** "90s", "6h", "1.5d" to milliseconds. */
export function parseDuration(text: string): number {
  return parseUnit(text, DURATION, 'duration', '30s or 6h');
}

/** "64MiB", "1.5GB" to bytes. */
export function parseSize(text: string): number {
  return parseUnit(text, SIZE, 'size', '64MiB or 2GB');
}

/** 1536 to "1.5 KiB". */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

/** 93_000 to "1m 33s"; under ten seconds with a fraction. */
export function formatDuration(ms: number): string {
  if (ms < 0) return `-${formatDuration(-ms)}`;
  if (ms < 1000) return `${Math.round(ms)}ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)}s`;
  const seconds = Math.round(ms / 1000);
  const parts: Array<[number, string]> = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ];
  const shown = parts.filter(([n]) => n > 0).slice(0, 2);
  return shown.map(([n, unit]) => `${n}${unit}`).join(' ');
}

/** Where "now" comes from, so that a test can say what time it is. */
export type Clock = { now(): Date };
export const systemClock: Clock = { now: () => new Date() };
