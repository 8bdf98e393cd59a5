/**
 * The main job on its clock: the quickstart's cluster is lost and restored into a fresh one of the same size, and every
 * secret is read from it. The quickstart talks on standard output; the figures go to file descriptor 3 as JSON.
 */
import { writeFileSync } from 'node:fs';
import { type Act, openStage } from '../quickstart/stage.ts';

const FIGURES = 3;

const abort = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => abort.abort(new Error(`stopped by ${name}`)));

await using stage = await openStage(abort.signal);
const before: Act[] = [];
const source = await stage.startSource(before);
const seed = await stage.seed(source, before);
await stage.backup(before);
const acts: Act[] = [];
const begin = performance.now();
await stage.destroySource(source, acts);
const target = await stage.restore(acts);
await stage.compare(target, seed, acts);
writeFileSync(FIGURES, JSON.stringify({ ms: performance.now() - begin, acts }));
