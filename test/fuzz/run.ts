/** `npm run fuzz -- --seconds 60 [--target archive] [--seed 1] [--update] [--replay file]` */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { parseArgs } from 'node:util';
import { corpusBytes, readCorpus, writeCorpus, writeFinding } from './corpus.ts';
import { fuzz, reduce } from './engine/watch.ts';
import { TARGET_NAMES, type TargetName, targetAt } from './targets.ts';

const USAGE = `usage: npm run fuzz -- [--seconds 60] [--target ${TARGET_NAMES.join('|')}]… [--seed n] [--update] [--replay file]
`;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

process.exitCode = await main();

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '60' },
      target: { type: 'string', multiple: true, default: TARGET_NAMES },
      seed: { type: 'string' },
      update: { type: 'boolean', default: false },
      replay: { type: 'string' },
    },
  });
  const names = values.target.filter((name): name is TargetName => TARGET_NAMES.includes(name as TargetName));
  const seconds = Number(values.seconds);
  const seed = values.seed === undefined ? Date.now() % 2 ** 32 : Number(values.seed);
  if (names.length < values.target.length || !(seconds > 0) || !Number.isInteger(seed)) {
    process.stderr.write(USAGE);
    return 2;
  }
  if (values.replay !== undefined) return replay(names, values.replay);
  let findings = 0;
  for (const name of names) if (!(await run(name, seconds, seed, values.update))) findings += 1;
  return findings === 0 ? 0 : 1;
}

async function run(name: TargetName, seconds: number, seed: number, isUpdating: boolean): Promise<boolean> {
  const corpus = readCorpus(name);
  const options = { corpus, seed, seconds, maxExecutions: Number.POSITIVE_INFINITY, isGuided: true };
  const report = await fuzz(targetAt(name), options);
  const speed = Math.round(report.executions / report.seconds);
  say(
    `${name}: ${report.executions} runs in ${report.seconds.toFixed(1)} s (${speed}/s), seed ${seed}, ` +
      `corpus ${report.replayed} of ${corpus.length} replayed, ${report.added.length} new, ${report.covered} characters of source reached`,
  );
  if (report.finding !== null) {
    const { problem, input } = report.finding;
    const file = relative(process.cwd(), writeFinding(name, problem.kind, input));
    say(`${name}: FOUND ${problem.kind}: ${problem.message}\n  npm run fuzz -- --target ${name} --replay ${file}`);
    return false;
  }
  if (isUpdating && report.added.length > 0) {
    writeCorpus(name, await reduce(targetAt(name), [...corpus, ...report.added]));
    say(`${name}: the corpus has ${readCorpus(name).length} files now, ${corpusBytes(name)} bytes`);
  }
  return true;
}

async function replay(names: readonly TargetName[], file: string): Promise<number> {
  const [name] = names;
  if (name === undefined || names.length !== 1) {
    process.stderr.write('name the one --target that the file is for\n');
    return 2;
  }
  const corpus = [readFileSync(file)];
  const { finding } = await fuzz(targetAt(name), { corpus, seed: 0, seconds: 0, maxExecutions: 0, isGuided: false });
  say(
    finding === null ? `${name}: nothing found` : `${name}: FOUND ${finding.problem.kind}: ${finding.problem.message}`,
  );
  return finding === null ? 0 : 1;
}
