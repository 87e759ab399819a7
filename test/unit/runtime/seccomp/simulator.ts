import { BPF, holds, type Instruction } from '../../../../src/runtime/seccomp/bpf.ts';

/** AUDIT_ARCH_* of linux/audit.h. */
export const ARCH = { x86_64: 0xc000003e, i386: 0x40000003, aarch64: 0xc00000b7, arm: 0x40000028 } as const;
export const X32_BIT = 0x40000000;
export const ALLOW = 0x7fff0000;
export const KILL = 0;
export const errno = (number: number): number => 0x00050000 + number;

/** What the kernel would make of one system call: the action that the program returns. */
export function simulate(
  program: readonly Instruction[],
  call: { readonly arch: number; readonly number: number; readonly args?: readonly bigint[] },
): number {
  const data = new DataView(new ArrayBuffer(64));
  data.setUint32(0, call.number >>> 0, true);
  data.setUint32(4, call.arch >>> 0, true);
  (call.args ?? []).forEach((value, index) => {
    data.setBigUint64(16 + index * 8, BigInt.asUintN(64, value), true);
  });
  let accumulator = 0;
  for (let index = 0; index < program.length; index += 1) {
    const instruction = program[index];
    if (instruction === undefined) break;
    const { code, jt, jf, k } = instruction;
    const taken = holds(instruction, accumulator);
    if (code === BPF.return) return k;
    if (code === BPF.loadAbsolute) accumulator = data.getUint32(k, true);
    else if (code === BPF.and) accumulator = (accumulator & k) >>> 0;
    else if (code === BPF.jump) index += k;
    else if (taken !== undefined) index += taken ? jt : jf;
    else throw new Error(`unknown instruction 0x${code.toString(16)} at ${index}`);
  }
  throw new Error('the program ends without a return');
}
