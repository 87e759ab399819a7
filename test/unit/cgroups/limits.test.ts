import { describe, expect, it } from 'vitest';
import type { CgroupHost } from '../../../src/cgroups/host.ts';
import { type Machine, resourcesOf } from '../../../src/cgroups/limits.ts';
import type { Limits } from '../../../src/engine/options.ts';

const MACHINE: Machine = {
  cpus: 2,
  cpuList: '0-1',
  memList: '0',
  device: (path) => (path === '/dev/sda' ? { major: 8, minor: 0 } : undefined),
};
const ALL = ['cpuset', 'cpu', 'io', 'memory', 'pids'];
const V2: CgroupHost = {
  version: 'v2',
  mounts: {},
  unified: { mount: '/sys/fs/cgroup', controllers: ALL },
  ownUnified: '/',
  swapAccounting: true,
  read: () => undefined,
};
const V1: CgroupHost = {
  version: 'v1',
  mounts: Object.fromEntries(
    ['cpuset', 'cpu', 'blkio', 'memory', 'pids'].map((name) => [name, `/cg/${name}`]),
  ),
  ownUnified: '/',
  swapAccounting: false,
  read: () => undefined,
};
const MB = 1024 * 1024;

describe('resourcesOf()', () => {
  it('gives swap twice the memory where only memory is given, as Docker', () => {
    expect(resourcesOf({ memory: 64 * MB }, V2, MACHINE).resources.memory).toEqual({
      limit: 64 * MB,
      swap: 128 * MB,
    });
  });

  it('turns cpus into quota and period', () => {
    expect(resourcesOf({ cpus: 0.5 }, V2, MACHINE).resources.cpu).toEqual({ period: 100_000, quota: 50_000 });
  });

  it('resolves device rates by the node', () => {
    const { resources } = resourcesOf({ deviceReadBps: [{ path: '/dev/sda', rate: 1024 }] }, V2, MACHINE);
    expect(resources.blockIO).toEqual({ throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 1024 }] });
  });

  it('has pids 0 and -1 mean no limit', () => {
    expect(resourcesOf({ pidsLimit: 0 }, V2, MACHINE).resources.pids).toEqual({ limit: -1 });
    expect(resourcesOf({ pidsLimit: 100 }, V2, MACHINE).resources.pids).toEqual({ limit: 100 });
  });

  it('warns like Docker where swap is not accounted and the user asked for it', () => {
    const { resources, warnings } = resourcesOf({ memory: 64 * MB, memorySwap: 64 * MB }, V1, MACHINE);
    expect(resources.memory).toEqual({ limit: 64 * MB });
    expect(warnings[0]).toMatch(/does not support swap limit capabilities/);
    expect(resourcesOf({ memory: 64 * MB }, V1, MACHINE).warnings).toEqual([]);
  });

  it('puts memory.high and --cgroup-conf into unified', () => {
    const { resources } = resourcesOf(
      { memoryHigh: 8 * MB, cgroupConf: { 'memory.oom.group': '1' } },
      V2,
      MACHINE,
    );
    expect(resources.unified).toEqual({ 'memory.high': String(8 * MB), 'memory.oom.group': '1' });
  });

  const REFUSED: readonly (readonly [Limits, CgroupHost, string])[] = [
    [{ memory: 1024 }, V2, 'Minimum memory limit allowed is 6MB'],
    [
      { memorySwap: 64 * MB },
      V2,
      'You should always set the Memory limit when using Memoryswap limit, see usage',
    ],
    [
      { memory: 64 * MB, memorySwap: 32 * MB },
      V2,
      'Minimum memoryswap limit should be larger than memory limit, see usage',
    ],
    [
      { memory: 8 * MB, memoryReservation: 16 * MB },
      V2,
      'Minimum memory limit can not be less than memory reservation limit, see usage',
    ],
    [{ cpus: 3 }, V2, 'Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available'],
    [{ cpus: 1, cpuQuota: 1000 }, V2, 'Conflicting options: Nano CPUs and CPU Quota cannot both be set'],
    [
      { cpuPeriod: 10 },
      V2,
      'CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)',
    ],
    [{ cpusetCpus: '0-7' }, V2, 'Requested CPUs are not available - requested 0-7, available: 0-1'],
    [{ cpusetCpus: 'x' }, V2, 'Invalid value x for cpuset cpus'],
    [{ blkioWeight: 5 }, V2, 'Range of blkio weight is from 10 to 1000'],
    [{ oomScoreAdj: 2000 }, V2, 'Invalid value 2000, range for oom score adj is [-1000, 1000]'],
    [{ oomKillDisable: true }, V2, 'Cannot use --oom-kill-disable: cgroup v2 has no way'],
    [
      { oomGroup: true },
      V1,
      'Cannot use --oom-group: the OOM killer of cgroup v1 kills one process at a time',
    ],
    [{ memoryHigh: 8 * MB }, V1, 'Cannot use --memory-high: this host limits with cgroup v1'],
    [{ cgroupConf: { 'memory.max\nx': '1' } }, V2, 'Cannot set cgroup file'],
    [{ cgroupConf: { 'cgroup.procs': '1' } }, V2, 'Cannot set cgroup file'],
    [{ deviceReadBps: [{ path: '/etc', rate: 1 }] }, V2, 'Cannot limit device "/etc"'],
    [
      { memory: 64 * MB },
      { ...V2, unified: { mount: '/', controllers: ['cpu'] } },
      'Cannot limit memory: this kernel has no cgroup controller',
    ],
  ];
  it.each(REFUSED)('refuses %j', (limits, host, message) => {
    expect(() => resourcesOf(limits, host, MACHINE)).toThrow(message);
  });
});
