/**
 * Classic BPF as seccomp runs it: the few instructions that libseccomp emits.
 * @see https://docs.kernel.org/networking/filter.html and include/uapi/linux/seccomp.h
 */
export interface Instruction {
  readonly code: number;
  /** How many instructions to skip if the test holds, and if not. */
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

/** Opcodes: class | size or operation | source. */
export const BPF = {
  loadAbsolute: 0x20,
  and: 0x54,
  jump: 0x05,
  jumpEqual: 0x15,
  jumpGreater: 0x25,
  jumpGreaterOrEqual: 0x35,
  jumpSet: 0x45,
  return: 0x06,
} as const;

/** Offsets in struct seccomp_data. */
export const OFFSET_NUMBER = 0;
export const OFFSET_ARCH = 4;
/** Where instruction_pointer and the arguments begin. */
export const OFFSET_REST = 8;

/** struct sock_filter[], host (little-endian) byte order. */
export function decodeProgram(bytes: Uint8Array): Instruction[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length >> 3 }, (_, index) => ({
    code: view.getUint16(index * 8, true),
    jt: view.getUint8(index * 8 + 2),
    jf: view.getUint8(index * 8 + 3),
    k: view.getUint32(index * 8 + 4, true),
  }));
}

export function encodeProgram(program: readonly Instruction[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(program.length * 8));
  for (const [index, { code, jt, jf, k }] of program.entries()) {
    view.setUint16(index * 8, code, true);
    view.setUint8(index * 8 + 2, jt);
    view.setUint8(index * 8 + 3, jf);
    view.setUint32(index * 8 + 4, k >>> 0, true);
  }
  return new Uint8Array(view.buffer);
}

export function returns(action: number): Instruction {
  return { code: BPF.return, jt: 0, jf: 0, k: action };
}

export function load(offset: number): Instruction {
  return { code: BPF.loadAbsolute, jt: 0, jf: 0, k: offset };
}

/** Whether the test of a conditional jump holds; undefined for any other instruction. */
export function holds(instruction: Instruction, accumulator: number): boolean | undefined {
  const { code, k } = instruction;
  if (code === BPF.jumpEqual) return accumulator === k;
  if (code === BPF.jumpGreater) return accumulator > k;
  if (code === BPF.jumpGreaterOrEqual) return accumulator >= k;
  if (code === BPF.jumpSet) return (accumulator & k) !== 0;
  return undefined;
}
