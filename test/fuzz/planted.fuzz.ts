/** Readers with a defect each, for the test that shows the engine finding it. */
import { ArchiveReader } from '../../src/archive/read.ts';
import { StrongroomError } from '../../src/core/errors.ts';
import { archive } from './archive.fuzz.ts';
import { type Target, Violation } from './engine/target.ts';

const plain = {
  maxBytes: 64,
  covers: ['/test/fuzz/planted.'],
  codes: [],
  tokens: [],
  seeds: () => [Buffer.from('an ordinary input')],
} satisfies Omit<Target, 'run'>;

/** Four bytes that have to be right one after the other: one in four thousand million for who does not watch the way there. */
export const magic: Target = {
  ...plain,
  run: async (input) => {
    if (input[0] !== 0x5a) return;
    if (input[1] !== 0x13) return;
    if (input[2] !== 0x9c) return;
    if (input[3] === 0xe1) throw new TypeError('behind the magic number');
  },
};

/** The real reader, and then a line that believes what every address of a server looks like. */
export const address: Target = {
  ...archive,
  run: async (input) => {
    const reader = new ArchiveReader();
    try {
      await reader.write(input);
      for (const { address: text } of reader.end().raft.servers) portOf(text.split(':')[1]);
    } finally {
      reader.close();
    }
  },
};

export const endless: Target = {
  ...plain,
  run: async (input) => {
    while (input[0] === 0x62);
  },
};

export const slow: Target = {
  ...plain,
  run: async (input) => {
    if (input[0] !== 0x62) return;
    const before = process.threadCpuUsage();
    while (process.threadCpuUsage(before).user < 1_500_000);
  },
};

/** Takes a length at its word. The memory is never written to, so the kernel does not see it. */
export const greedy: Target = {
  ...plain,
  run: async (input) => {
    if (input[0] === 0x62) Buffer.alloc(100 * 2 ** 20);
  },
};

/** Many buffers, written to, and given back before the end. */
export const spender: Target = {
  ...plain,
  run: async (input) => {
    if (input[0] === 0x62) Array.from({ length: 200 }, () => Buffer.alloc(2 ** 20, 1));
  },
};

export const full: Target = {
  ...plain,
  run: async (input) => {
    const held: string[][] = [];
    while (input[0] === 0x62) held.push(Array.from({ length: 1000 }, (_, i) => `${i} ${held.length}`));
  },
};

export const forgetful: Target = {
  ...plain,
  run: async (input) => {
    if (input[0] === 0x62) void Promise.reject(new TypeError('nobody waits for this'));
  },
};

/** Throws where no promise is: the process dies of it. */
export const late: Target = {
  ...plain,
  run: async (input) => {
    if (input[0] === 0x62) setImmediate(() => portOf(undefined));
  },
};

export const foreign: Target = {
  ...plain,
  codes: ['E_SNAPSHOT_FORMAT'],
  run: async (input) => {
    throw new StrongroomError(input[0] === 0x62 ? 'E_BUG' : 'E_SNAPSHOT_FORMAT', 'refused');
  },
};

export const liar: Target = {
  ...plain,
  run: async (input) => {
    if (input[0] === 0x62) throw new Violation('accepted, but forged');
  },
};

export const scribbler: Target = {
  ...plain,
  run: async (input) => {
    if (input[0] === 0x62) input[0] = 0;
  },
};

function portOf(port: string | undefined): number {
  return Number((port as string).trim());
}
