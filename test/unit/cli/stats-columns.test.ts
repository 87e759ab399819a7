import { expect, test } from 'vitest';
import { binarySize, statsColumns } from '../../../src/cli/stats-columns.ts';
import type { Stats } from '../../../src/engine/index.ts';

test.each([
  [0, '0B'],
  [1023, '1023B'],
  [1024, '1KiB'],
  [2_027_520, '1.934MiB'],
  [33_554_432, '32MiB'],
  [16_800_000_000, '15.65GiB'],
])('binarySize(%i) is %s', (bytes, expected) => {
  expect(binarySize(bytes)).toBe(expected);
});

test('statsColumns() of a container that does not run are zeros', () => {
  const container = { id: 'a'.repeat(64), name: 'web' } as unknown as Stats['container'];
  expect(statsColumns({ truncate: true })({ container, cpuPercent: 0 })).toMatchObject({
    ID: 'a'.repeat(12),
    CPUPerc: '0.00%',
    MemUsage: '0B / 0B',
    MemPerc: '0.00%',
    NetIO: '0B / 0B',
    PIDs: '0',
    MemPeak: '--',
    PSI: '-- / -- / --',
  });
});
