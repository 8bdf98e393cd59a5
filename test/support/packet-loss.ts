/** Which packets are lost, in the words of the kernel: classic BPF, as `tc filter … bpf bytecode` takes it. */

export type Loss = {
  /** 0 to 1 */
  share: number;
  /** TCP port of the packets concerned */
  port: number;
  /** whether they come from that port or go to it */
  side: 'source' | 'destination';
  /** the packets that open a connection pass in any case */
  spareSyn: boolean;
};

// Offsets from the Ethernet header on, behind which IPv4 has no options here.
const PROTOCOL = 23;
const SOURCE_PORT = 34;
const DESTINATION_PORT = 36;
const FLAGS = 47;
const TCP = 6;
const SYN = 0x02;
/** SKF_AD_OFF + SKF_AD_RANDOM: a random 32-bit number instead of a word of the packet */
const RANDOM = 2 ** 32 - 0x1000 + 56;

const LOAD_WORD = 0x20;
const LOAD_HALF = 0x28;
const LOAD_BYTE = 0x30;
const JUMP_EQUAL = 0x15;
const JUMP_NOT_BELOW = 0x35;
const JUMP_SET = 0x45;
const RETURN = 0x06;

/** The program: it returns -1 (matched) for a packet that is to be lost, else 0. */
export function lossFilter({ share, port, side, spareSyn }: Loss): string {
  const bound = Math.min(2 ** 32 - 1, Math.round(share * 2 ** 32));
  // [operation, jump if true, jump if false, operand]; jumps count the instructions that are passed over.
  const flags: number[][] = spareSyn
    ? [
        [LOAD_BYTE, 0, 0, FLAGS],
        [JUMP_SET, 3, 0, SYN],
      ]
    : [];
  const program = [
    [LOAD_BYTE, 0, 0, PROTOCOL],
    [JUMP_EQUAL, 0, 5 + flags.length, TCP],
    [LOAD_HALF, 0, 0, side === 'source' ? SOURCE_PORT : DESTINATION_PORT],
    [JUMP_EQUAL, 0, 3 + flags.length, port],
    ...flags,
    [LOAD_WORD, 0, 0, RANDOM],
    [JUMP_NOT_BELOW, 1, 0, bound],
    [RETURN, 0, 0, 2 ** 32 - 1],
    [RETURN, 0, 0, 0],
  ];
  return `${program.length},${program.map((instruction) => instruction.join(' ')).join(',')}`;
}
