/** Changes that leave a document JSON: what is behind the parser is met with every one of them. */
import type { Random } from './random.ts';

/** One value of a JSON document replaced by another of it, by nothing, or by what nobody expects; null for no JSON. */
export function changeJson(input: Buffer, random: Random): Buffer | null {
  let json: unknown;
  try {
    json = JSON.parse(input.toString('utf8'));
  } catch {
    return null;
  }
  const places: { holder: Record<string, unknown>; key: string }[] = [];
  const walk = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    const holder = value as Record<string, unknown>;
    for (const key of Object.keys(holder)) {
      places.push({ holder, key });
      walk(holder[key]);
    }
  };
  walk(json);
  if (places.length === 0) return null;
  const { holder, key } = random.pick(places);
  const other = random.pick(places);
  const values = [
    null,
    -1,
    1.5,
    2 ** 53,
    '',
    [],
    {},
    'arn:',
    'age1',
    true,
    '\ud800',
    '\u009b2J',
    other.holder[other.key],
  ];
  if (random.isOneIn(5)) delete holder[key];
  else holder[key] = structuredClone(random.pick(values));
  return Buffer.from(JSON.stringify(json));
}
