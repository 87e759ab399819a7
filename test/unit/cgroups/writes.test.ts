import { describe, expect, it } from 'vitest';
import { weightOfBlkio, weightOfShares, writesForV1, writesForV2 } from '../../../src/cgroups/writes.ts';
import type { Resources } from '../../../src/oci/runtime-spec.ts';

const MB = 1024 * 1024;
const lines = (writes: readonly { file: string; value: string }[]): string[] =>
  writes.map(({ file, value }) => `${file}=${value}`);

const RESOURCES: Resources = {
  memory: { limit: 64 * MB, swap: 96 * MB, reservation: 32 * MB },
  cpu: { shares: 1024, quota: 50_000, period: 100_000, cpus: '0', mems: '0' },
  pids: { limit: 100 },
  blockIO: {
    throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 1000 }],
    throttleWriteIOPSDevice: [{ major: 8, minor: 16, rate: 5 }],
  },
};

describe('writesForV2()', () => {
  it('counts swap without memory and gives weights for shares', () => {
    expect(lines(writesForV2(RESOURCES))).toEqual([
      `memory.max=${64 * MB}`,
      `memory.swap.max=${32 * MB}`,
      `memory.low=${32 * MB}`,
      'cpu.weight=100',
      'cpu.max=50000 100000',
      'cpuset.cpus=0',
      'cpuset.mems=0',
      'pids.max=100',
      'io.max=8:0 rbps=1000',
      'io.max=8:16 wiops=5',
    ]);
  });

  it('writes max for what is unlimited', () => {
    expect(
      lines(writesForV2({ memory: { limit: -1, swap: -1 }, pids: { limit: -1 }, cpu: { quota: -1 } })),
    ).toEqual(['memory.max=max', 'memory.swap.max=max', 'cpu.max=max 100000', 'pids.max=max']);
  });
});

describe('writesForV1()', () => {
  it('bounds memory before memory plus swap', () => {
    expect(lines(writesForV1(RESOURCES))).toEqual([
      `memory.limit_in_bytes=${64 * MB}`,
      `memory.memsw.limit_in_bytes=${96 * MB}`,
      `memory.soft_limit_in_bytes=${32 * MB}`,
      'cpu.shares=1024',
      'cpu.cfs_period_us=100000',
      'cpu.cfs_quota_us=50000',
      'cpuset.cpus=0',
      'cpuset.mems=0',
      'pids.max=100',
      'blkio.throttle.read_bps_device=8:0 1000',
      'blkio.throttle.write_iops_device=8:16 5',
    ]);
  });
});

describe('weightOfShares()', () => {
  it.each([
    [0, 1],
    [2, 1],
    [1024, 100],
    [262_144, 10_000],
    [1_000_000, 10_000],
  ])('maps %d shares to weight %d', (shares, weight) => {
    expect(weightOfShares(shares)).toBe(weight);
  });
});

describe('weightOfBlkio()', () => {
  it.each([
    [10, 1],
    [1000, 10_000],
    [500, 4950],
  ])('maps %d to %d', (weight, expected) => {
    expect(weightOfBlkio(weight)).toBe(expected);
  });
});
