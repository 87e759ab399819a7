import { describe, expect, it } from 'vitest';
import { deviceNumber, hostMachine } from '../../../src/cgroups/machine.ts';

describe('deviceNumber()', () => {
  it.each([
    [0x801, 8, 1],
    [0x103, 1, 3],
    [0xfd00, 253, 0],
    [0x100800, 8, 256],
  ])('splits %d', (rdev, major, minor) => {
    expect(deviceNumber(rdev)).toEqual({ major, minor });
  });
});

describe('hostMachine()', () => {
  it('finds at least one CPU and no block device where there is none', () => {
    expect(hostMachine().cpus).toBeGreaterThan(0);
    expect(hostMachine().device('/etc')).toBeUndefined();
    expect(hostMachine().device('/nowhere')).toBeUndefined();
  });
});
