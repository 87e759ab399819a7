import { describe, expect, it } from 'vitest';
import type { CgroupHost } from '../../../src/cgroups/host.ts';
import { cgroupDirectories, planCgroup, unifiedBase } from '../../../src/cgroups/plan.ts';
import type { Op } from '../../../src/native/plan.ts';

function host(overrides: Partial<CgroupHost>, files: Record<string, string> = {}): CgroupHost {
  return {
    version: 'v2',
    mounts: {},
    ownUnified: '/',
    swapAccounting: true,
    read: (path) => files[path],
    ...overrides,
  };
}
const unified = { mount: '/cg', controllers: ['cpu', 'memory', 'pids', 'net'] };

function shown(ops: readonly Op[]): string[] {
  return ops.map((op) => {
    if (op.op === 'writeFile') return `${op.path} <- ${op.text}`;
    return 'path' in op ? `${op.op} ${op.path}` : op.op;
  });
}

describe('cgroupDirectories()', () => {
  it.each([
    ['v2', host({ unified })],
    ['v1', host({ version: 'v1', mounts: { cpu: '/c/cpu', cpuacct: '/c/cpu', memory: '/c/memory' } })],
    ['hybrid', host({ version: 'v1', mounts: { pids: '/c/pids' }, unified })],
    ['none', host({ version: 'none' })],
  ])('knows the directories of the plan on %s', (_, machine) => {
    expect(cgroupDirectories(machine, '/tinyrun/abc')).toEqual(
      planCgroup(machine, '/tinyrun/abc', {}).directories,
    );
  });
});

describe('planCgroup()', () => {
  it('on v2 makes one directory, hands controllers down once and has the child born there', () => {
    const plan = planCgroup(
      host({ unified }, { '/cg/cgroup.subtree_control': 'cpu memory' }),
      '/tinyrun/abc',
      {
        pids: { limit: 5 },
      },
    );
    expect(shown(plan.prepare)).toEqual([
      '/cg/cgroup.subtree_control <- +pids',
      'mkdir /cg/tinyrun',
      '/cg/tinyrun/cgroup.subtree_control <- +cpu',
      '/cg/tinyrun/cgroup.subtree_control <- +memory',
      '/cg/tinyrun/cgroup.subtree_control <- +pids',
      'mkdir /cg/tinyrun/abc',
      '/cg/tinyrun/abc/pids.max <- 5',
    ]);
    expect(plan.child).toEqual([]);
    expect(plan.cgroupDirectory).toBe('/cg/tinyrun/abc');
    expect(shown(plan.cleanup)).toEqual(['killCgroup /cg/tinyrun/abc', 'rmdir /cg/tinyrun/abc']);
  });

  it('on v2 asks a BPF program about devices', () => {
    const plan = planCgroup(host({ unified }), '/tinyrun/abc', {
      devices: [{ allow: false, access: 'rwm' }],
    });
    expect(plan.prepare.at(-1)).toMatchObject({ op: 'deviceFilter', path: '/cg/tinyrun/abc' });
  });

  it('on v1 joins every hierarchy by tasks, and fills a new cpuset first', () => {
    const v1 = host(
      {
        version: 'v1',
        mounts: { memory: '/v1/memory', cpu: '/v1/cpu', cpuacct: '/v1/cpu', cpuset: '/v1/cpuset' },
      },
      { '/v1/cpuset/cpuset.cpus': '0-1', '/v1/cpuset/cpuset.mems': '0' },
    );
    const plan = planCgroup(v1, '/tinyrun/abc', { memory: { limit: 7 } });
    expect(shown(plan.prepare)).toEqual([
      'mkdir /v1/memory/tinyrun',
      'mkdir /v1/memory/tinyrun/abc',
      'mkdir /v1/cpu/tinyrun',
      'mkdir /v1/cpu/tinyrun/abc',
      'mkdir /v1/cpuset/tinyrun',
      '/v1/cpuset/tinyrun/cpuset.cpus <- 0-1',
      '/v1/cpuset/tinyrun/cpuset.mems <- 0',
      'mkdir /v1/cpuset/tinyrun/abc',
      '/v1/cpuset/tinyrun/abc/cpuset.cpus <- 0-1',
      '/v1/cpuset/tinyrun/abc/cpuset.mems <- 0',
      '/v1/memory/tinyrun/abc/memory.limit_in_bytes <- 7',
    ]);
    expect(shown(plan.child)).toEqual([
      '/v1/memory/tinyrun/abc/tasks <- 0',
      '/v1/cpu/tinyrun/abc/tasks <- 0',
      '/v1/cpuset/tinyrun/abc/tasks <- 0',
    ]);
    expect(plan.oomPath).toBe('/v1/memory/tinyrun/abc/memory.oom_control');
  });

  it('on a hybrid host also uses the unified hierarchy, for cgroup.kill', () => {
    const plan = planCgroup(
      host({ version: 'v1', mounts: { pids: '/v1/pids' }, unified }),
      '/tinyrun/abc',
      {},
    );
    expect(plan.cgroupDirectory).toBe('/cg/tinyrun/abc');
    expect(plan.killPath).toBe('/cg/tinyrun/abc');
  });

  it('writes v1 device rules in their order', () => {
    const v1 = host({ version: 'v1', mounts: { devices: '/v1/devices' } });
    const plan = planCgroup(v1, '/t/a', {
      devices: [
        { allow: false, access: 'rwm' },
        { allow: true, type: 'c', access: 'm' },
        { allow: true, type: 'c', major: 1, minor: 3, access: 'rwm' },
      ],
    });
    expect(shown(plan.prepare).slice(-3)).toEqual([
      '/v1/devices/t/a/devices.deny <- a',
      '/v1/devices/t/a/devices.allow <- c *:* m',
      '/v1/devices/t/a/devices.allow <- c 1:3 rwm',
    ]);
  });
});

describe('planCgroup() in a container of another engine', () => {
  const inside = {
    '/cg/cgroup.type': 'domain',
    '/cg/cgroup.procs': '1\n0\n27',
    '/cg/cgroup.subtree_control': '',
  };

  it('moves the processes at the root of the cgroup namespace one level down before it hands controllers down', () => {
    const ops = shown(planCgroup(host({ unified }, inside), '/tinyrun/abc', {}).prepare);
    expect(ops.slice(0, 5)).toEqual([
      'mkdir /cg/init',
      '/cg/init/cgroup.procs <- 1',
      '/cg/init/cgroup.procs <- 27',
      '/cg/init/cgroup.procs <- 0',
      '/cg/cgroup.subtree_control <- +cpu',
    ]);
  });

  it('leaves everything where it is when the root is empty', () => {
    const ops = shown(
      planCgroup(host({ unified }, { ...inside, '/cg/cgroup.procs': '' }), '/t/a', {}).prepare,
    );
    expect(ops.filter((op) => op.includes('init'))).toEqual([]);
  });
});

describe('unifiedBase()', () => {
  const nested = {
    '/cg/cgroup.type': 'domain',
    '/cg/cgroup.procs': '1',
    '/cg/a/cgroup.type': 'domain',
    '/cg/a/cgroup.procs': '',
  };

  it('is the mount at the true root', () => {
    expect(unifiedBase(host({ unified, ownUnified: '/a/b' }))).toBe('/cg');
  });

  it('is the nearest ancestor without processes where the root is a cgroup itself', () => {
    const files = { ...nested, '/cg/a/b/cgroup.type': 'domain', '/cg/a/b/cgroup.procs': '42' };
    expect(unifiedBase(host({ unified, ownUnified: '/a/b' }, files))).toBe('/cg/a');
  });

  it('passes a threaded cgroup by', () => {
    const files = { ...nested, '/cg/a/b/cgroup.type': 'threaded', '/cg/a/b/cgroup.procs': '' };
    expect(unifiedBase(host({ unified, ownUnified: '/a/b' }, files))).toBe('/cg/a');
  });
});
