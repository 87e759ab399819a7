import { describe, expect, test } from 'vitest';
import type { CgroupHost } from '../../../src/cgroups/host.ts';
import { cpuPercent, networkBytes, usageOf } from '../../../src/engine/stats.ts';

const NET = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    5000      50    0    0    0     0          0         0     5000      50    0    0    0     0       0          0
  eth0:     700       7    0    0    0     0          0         0      300       3    0    0    0     0       0          0
  eth1: 1 1 0 0 0 0 0 0 2 2 0 0 0 0 0 0
`;

const STALL = { avg10: 0, avg60: 0, avg300: 0, total: 0 };

function host(version: CgroupHost['version'], files: Record<string, string>): CgroupHost {
  const all: Record<string, string> = { '/proc/meminfo': 'MemTotal:  1000 kB\nMemFree: 1 kB', ...files };
  return { version, mounts: {}, ownUnified: '/', swapAccounting: true, read: (path) => all[path] };
}

test('networkBytes() counts all but loopback', () => {
  expect(networkBytes(NET)).toEqual({ received: 701, sent: 302 });
  expect(networkBytes('')).toEqual({ received: 0, sent: 0 });
});

describe('usageOf()', () => {
  test('on v2', () => {
    const v2 = host('v2', {
      '/c/cpu.stat': 'usage_usec 5\nuser_usec 1',
      '/c/memory.current': '900',
      '/c/memory.stat': 'anon 1\ninactive_file 100',
      '/c/memory.max': 'max',
      '/c/memory.peak': '950',
      '/c/cpu.pressure': 'some avg10=1.50 avg60=0.25 avg300=0.00 total=77',
      '/c/io.pressure': '',
      '/c/pids.current': '3',
      '/c/io.stat': '8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2',
    });
    expect(usageOf({ host: v2, directories: { unified: '/c' } }, NET)).toEqual({
      cpu: 5000,
      memory: 800,
      memoryLimit: 1_024_000,
      received: 701,
      sent: 302,
      read: 11,
      written: 22,
      pids: 3,
      memoryPeak: 950,
      pressure: { cpu: { some: { avg10: 1.5, avg60: 0.25, avg300: 0, total: 77 } } },
    });
  });

  test('on v1', () => {
    const v1 = host('v1', {
      '/a/cpuacct.usage': '77',
      '/m/memory.usage_in_bytes': '900',
      '/m/memory.stat': 'inactive_file 1\ntotal_inactive_file 200',
      '/m/memory.limit_in_bytes': '2000',
      '/p/pids.current': '2',
      '/u/memory.pressure':
        'some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0',
      '/b/blkio.throttle.io_service_bytes': '8:0 Read 4\n8:0 Write 5\n8:0 Total 9\nTotal 9',
    });
    const directories = { cpuacct: '/a', memory: '/m', pids: '/p', blkio: '/b', unified: '/u' };
    expect(usageOf({ host: v1, directories }, '')).toEqual({
      cpu: 77,
      memory: 700,
      memoryLimit: 2000,
      received: 0,
      sent: 0,
      read: 4,
      written: 5,
      pids: 2,
      pressure: { memory: { some: STALL, full: STALL } },
    });
  });
});

test('cpuPercent() is of one processor', () => {
  const usage = (cpu: number) => ({ ...usageOf({ host: host('none', {}), directories: {} }, ''), cpu });
  const half = { at: 1000, usage: usage(500e6) };
  expect(cpuPercent({ at: 0, usage: usage(0) }, half)).toBe(50);
  expect(cpuPercent(undefined, half)).toBe(0);
  expect(cpuPercent({ at: 0, usage: usage(900e6) }, half)).toBe(0);
});
