import { describe, expect, it } from 'vitest';
import { deviceFilter } from '../../../src/cgroups/device-filter.ts';
import type { DeviceRule } from '../../../src/oci/runtime-spec.ts';

/** The kernel's verdict, by a machine that knows the few instructions that the filter uses. */
function verdict(
  program: Uint8Array,
  type: 'b' | 'c',
  major: number,
  minor: number,
  access: string,
): boolean {
  const code = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const bits = [...access].reduce((mask, letter) => mask | ({ m: 1, r: 2, w: 4 }[letter] ?? 0), 0);
  const context = [(bits << 16) | (type === 'b' ? 1 : 2), major, minor];
  const registers = new Array<number>(11).fill(0);
  for (let at = 0; at < program.length / 8; at += 1) {
    const opcode = code.getUint8(at * 8);
    const dst = code.getUint8(at * 8 + 1) & 15;
    const src = code.getUint8(at * 8 + 1) >> 4;
    const offset = code.getInt16(at * 8 + 2, true);
    const immediate = code.getInt32(at * 8 + 4, true);
    const value = registers[dst] ?? 0;
    if (opcode === 0x61) registers[dst] = context[offset / 4] ?? 0;
    else if (opcode === 0xbc) registers[dst] = registers[src] ?? 0;
    else if (opcode === 0xb7) registers[dst] = immediate;
    else if (opcode === 0x54) registers[dst] = value & immediate;
    else if (opcode === 0x74) registers[dst] = value >>> immediate;
    else if (opcode === 0x55) at += value !== immediate ? offset : 0;
    else if (opcode === 0x15) at += value === immediate ? offset : 0;
    else if (opcode === 0x95) return registers[0] === 1;
    else throw new Error(`unknown opcode ${opcode}`);
  }
  throw new Error('fell off the end');
}

const DOCKER: readonly DeviceRule[] = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  { allow: true, type: 'c', major: 1, minor: 3, access: 'rwm' },
  { allow: true, type: 'c', major: 136, access: 'rwm' },
];

describe('deviceFilter()', () => {
  it.each([
    ['c', 1, 3, 'rw', true],
    ['c', 1, 3, 'rwm', true],
    ['c', 136, 7, 'rw', true],
    ['b', 8, 0, 'm', true],
    ['b', 8, 0, 'r', false],
    ['b', 8, 0, 'rm', false],
    ['c', 1, 4, 'r', false],
    ['b', 1, 3, 'r', false],
    ['c', 10, 200, 'w', false],
  ] as const)('under the default rules decides %s %d:%d %s as %s', (type, major, minor, access, allowed) => {
    expect(verdict(deviceFilter(DOCKER), type, major, minor, access)).toBe(allowed);
  });

  it('lets a later rule win', () => {
    const program = deviceFilter([
      { allow: true, access: 'rwm' },
      { allow: false, type: 'b', major: 8, minor: 0, access: 'w' },
    ]);
    expect(verdict(program, 'b', 8, 0, 'r')).toBe(true);
    expect(verdict(program, 'b', 8, 0, 'w')).toBe(false);
    expect(verdict(program, 'b', 8, 0, 'rw')).toBe(false);
  });

  it('has nothing behind a rule without a condition, which the verifier would refuse', () => {
    const program = deviceFilter([{ allow: false, access: 'rwm' }]);
    const exits = [...program.keys()].filter((at) => at % 8 === 0 && program[at] === 0x95);
    expect(exits).toEqual([program.length - 8]);
  });

  it('denies everything where there is no rule', () => {
    expect(verdict(deviceFilter([]), 'c', 1, 3, 'r')).toBe(false);
  });
});
