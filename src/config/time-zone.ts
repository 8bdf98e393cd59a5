/** Time zones by their IANA names. */
import { z } from 'zod';
import { nearest } from './suggest.ts';

/** A time zone of this runtime by its IANA name; an offset such as +01:00 is none, because it knows no summer time. */
export function timeZone() {
  return z.string().superRefine((value, context) => {
    if (isTimeZone(value)) return;
    const meant = nearestTimeZone(value);
    const choice = meant === null ? 'write a name such as Europe/Berlin or UTC' : `did you mean ${meant}?`;
    context.addIssue({ code: 'custom', message: `not a time zone that this machine knows; ${choice}` });
  });
}

function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    return new Intl.DateTimeFormat('en-US', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

/** The zone whose name, or whose city alone, is nearest; null when none is. */
function nearestTimeZone(name: string): string | null {
  const zones = ['UTC', ...Intl.supportedValuesOf('timeZone')];
  const cityOf = (zone: string): string => zone.split('/').at(-1) ?? zone;
  const city = nearest(cityOf(name).replaceAll(' ', '_'), zones.map(cityOf));
  return nearest(name, zones) ?? zones.find((zone) => cityOf(zone) === city) ?? null;
}
