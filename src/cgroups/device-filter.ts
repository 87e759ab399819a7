import type { DeviceRule } from '../oci/runtime-spec.ts';

/**
 * cgroup v2 has no devices.allow: the kernel asks a BPF program instead. Without one a container with CAP_MKNOD, which is
 * in the default set, could make a node of the host's disk and read it.
 *
 * The rules are tried from the last to the first, because a later rule wins; what no rule names is denied.
 * @returns struct bpf_insn[] in little-endian order (x86-64 and arm64)
 * @see https://docs.kernel.org/admin-guide/cgroup-v2.html#device-controller
 */
export function deviceFilter(rules: readonly DeviceRule[]): Uint8Array {
  const program: Instruction[] = [
    // struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }: type in the low half, access in the high.
    load(TYPE, 0),
    move(ACCESS, TYPE),
    [AND32, TYPE, 0, 0, 0xffff],
    [RSH32, ACCESS, 0, 0, 16],
    load(MAJOR, 4),
    load(MINOR, 8),
  ];
  for (const rule of [...rules].reverse()) {
    const { tests, verdict } = instructionsOf(rule);
    program.push(...tests, ...verdict);
    // A rule without a condition ends the program: the verifier refuses what cannot be reached behind it.
    if (tests.length === 0) return encode(program);
  }
  program.push([MOV64, RESULT, 0, 0, 0], [EXIT, 0, 0, 0, 0]);
  return encode(program);
}

type Instruction = readonly [opcode: number, dst: number, src: number, offset: number, immediate: number];

// Registers: r1 is the context at entry and scratch after the loads.
const RESULT = 0;
const SCRATCH = 1;
const TYPE = 2;
const ACCESS = 3;
const MAJOR = 4;
const MINOR = 5;

// Opcodes of linux/bpf.h: class | size or source | operation.
const LDX_W = 0x61;
const MOV32_REG = 0xbc;
const MOV64 = 0xb7;
const AND32 = 0x54;
const RSH32 = 0x74;
const JEQ = 0x15;
const JNE = 0x55;
const EXIT = 0x95;

const TYPE_NUMBER = { b: 1, c: 2 } as const;
const ACCESS_BIT = { m: 1, r: 2, w: 4 } as const;
const ALL_ACCESS = 7;

interface RuleCode {
  readonly tests: readonly Instruction[];
  readonly verdict: readonly Instruction[];
}

function instructionsOf(rule: DeviceRule): RuleCode {
  const tests: Instruction[] = [];
  if (rule.type === 'b' || rule.type === 'c') tests.push([JNE, TYPE, 0, 0, TYPE_NUMBER[rule.type]]);
  const access = accessMask(rule.access ?? 'rwm');
  if (access !== ALL_ACCESS) {
    tests.push(move(SCRATCH, ACCESS));
    // An allowing rule has to cover all that is asked for; a denying one matches when it names any of it.
    tests.push([AND32, SCRATCH, 0, 0, rule.allow ? ~access & ALL_ACCESS : access]);
    tests.push([rule.allow ? JNE : JEQ, SCRATCH, 0, 0, 0]);
  }
  if (rule.major !== undefined && rule.major >= 0) tests.push([JNE, MAJOR, 0, 0, rule.major]);
  if (rule.minor !== undefined && rule.minor >= 0) tests.push([JNE, MINOR, 0, 0, rule.minor]);
  const verdict: Instruction[] = [
    [MOV64, RESULT, 0, 0, rule.allow ? 1 : 0],
    [EXIT, 0, 0, 0, 0],
  ];
  const end = tests.length + verdict.length;
  const jumping = tests.map(
    (instruction, index): Instruction =>
      instruction[0] === JNE || instruction[0] === JEQ
        ? [instruction[0], instruction[1], instruction[2], end - index - 1, instruction[4]]
        : instruction,
  );
  return { tests: jumping, verdict };
}

function accessMask(access: string): number {
  let mask = 0;
  for (const letter of access)
    if (letter === 'r' || letter === 'w' || letter === 'm') mask |= ACCESS_BIT[letter];
  return mask;
}

function load(register: number, offset: number): Instruction {
  return [LDX_W, register, SCRATCH, offset, 0];
}

function move(to: number, from: number): Instruction {
  return [MOV32_REG, to, from, 0, 0];
}

function encode(program: readonly Instruction[]): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(program.length * 8));
  for (const [index, [opcode, dst, src, offset, immediate]] of program.entries()) {
    bytes.setUint8(index * 8, opcode);
    bytes.setUint8(index * 8 + 1, (src << 4) | dst);
    bytes.setInt16(index * 8 + 2, offset, true);
    bytes.setInt32(index * 8 + 4, immediate | 0, true);
  }
  return new Uint8Array(bytes.buffer);
}
