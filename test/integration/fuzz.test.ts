/** Everything that reads bytes from outside, fuzzed for a bounded time; and the fuzzer itself, shown what it must find. */
import { describe, expect, it } from 'vitest';
import { corpusBytes, readCorpus } from '../fuzz/corpus.ts';
import { type FuzzOptions, fuzz } from '../fuzz/engine/watch.ts';
import { TARGET_NAMES, targetAt } from '../fuzz/targets.ts';

/** Longer runs are for `npm run fuzz`; what they find stays in the corpus. The same seed: a failure comes again. */
const SECONDS = 5;
const SEED = 20_271_231;
const forAll = { seed: SEED, maxExecutions: Number.POSITIVE_INFINITY, isGuided: true };

describe('outside bytes end in an error of ours or in nothing, soon and in little memory', () => {
  it.each(TARGET_NAMES)('%s', async (name) => {
    const corpus = readCorpus(name);
    const { finding, ...report } = await fuzz(targetAt(name), { ...forAll, corpus, seconds: SECONDS });
    expect(finding?.problem ?? null, `input (base64): ${finding?.input.toString('base64')}`).toBeNull();
    expect(report.replayed).toBe(corpus.length);
    // The time is spent on changed inputs, and they do run the readers.
    expect(report.executions).toBeGreaterThan(corpus.length + 16);
    expect(report.covered).toBeGreaterThan(2000);
  });

  it('with a corpus of moderate size for each', () => {
    const bytes = TARGET_NAMES.map(corpusBytes);
    expect(bytes.every((sum) => sum > 0)).toBe(true);
    expect(bytes.reduce((sum, each) => sum + each, 0)).toBeLessThan(200 * 1024);
  });
});

describe('the fuzzer', () => {
  const planted = (name: string, options: Partial<FuzzOptions> = {}) =>
    fuzz(
      { module: new URL('../fuzz/planted.fuzz.ts', import.meta.url), name },
      { ...forAll, corpus: [], seconds: 60, ...options },
    );

  it('is led by coverage: it passes a magic number that the same changes without it do not', async () => {
    const some = { seed: 3, maxExecutions: 40_000, seconds: 100 };
    const guided = await planted('magic', some);
    expect(guided.finding?.problem).toMatchObject({
      kind: 'error',
      message: expect.stringContaining('TypeError') as unknown,
    });
    expect(guided.finding?.input.toString('hex')).toBe('5a139ce1');
    const blind = await planted('magic', { ...some, isGuided: false });
    expect(blind.finding).toBeNull();
    expect(blind.executions).toBeGreaterThanOrEqual(some.maxExecutions);
  });

  it('gets through every checksum of an archive to a defect behind them', async () => {
    const { finding } = await planted('address', { corpus: readCorpus('archive'), seed: 1, seconds: 100 });
    expect(finding?.problem).toMatchObject({ kind: 'error', message: expect.stringContaining('portOf') as unknown });
  });

  it.each([
    ['endless', 'hang', 'no end within 1000 ms'],
    ['slow', 'slow', 'ms of processor time'],
    ['greedy', 'memory', 'a buffer of 100 MiB'],
    ['spender', 'memory', 'MiB more than before'],
    ['full', 'memory', 'memory limit'],
    ['forgetful', 'stray', 'nobody waits for this'],
    ['late', 'stray', 'TypeError'],
    ['foreign', 'error', 'E_BUG'],
    ['liar', 'violation', 'accepted, but forged'],
    ['scribbler', 'violation', 'the input was written to'],
  ])('finds a reader that is %s', async (name, kind, message) => {
    const hangMs = name === 'endless' ? 1000 : 120_000;
    const { finding } = await planted(name, { hangMs });
    expect(finding?.problem).toMatchObject({ kind, message: expect.stringContaining(message) as unknown });
    expect(finding?.input[0]).toBe(0x62);
  });

  it('finds it again from the input alone, as a person does who has the file', async () => {
    const { finding } = await planted('liar');
    const corpus = [finding?.input ?? Buffer.alloc(0)];
    const again = await planted('liar', { corpus, maxExecutions: 0 });
    expect(again).toMatchObject({ executions: 1, finding: { problem: { kind: 'violation' }, input: corpus[0] } });
    expect((await planted('liar', { corpus: [Buffer.from('a')], maxExecutions: 0 })).finding).toBeNull();
  });
});
