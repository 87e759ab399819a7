import { describe, expect, it } from 'vitest';
import { detectCgroups, parseCgroupParent } from '../../../src/cgroups/host.ts';

const HYBRID = [
  '30 25 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw',
  '31 25 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd',
  '32 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct',
  '33 25 0:29 / /sys/fs/cgroup/mem\\040ory rw - cgroup cgroup rw,memory',
].join('\n');
const UNIFIED = '30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate';

function files(contents: Record<string, string>): (path: string) => string | undefined {
  return (path) => contents[path];
}

describe('detectCgroups()', () => {
  it('takes a hybrid host as v1, with every controller where it is mounted', () => {
    const host = detectCgroups(
      { mountinfo: HYBRID, selfCgroup: '4:memory:/x\n0::/' },
      files({ '/sys/fs/cgroup/unified/cgroup.controllers': 'hugetlb' }),
    );
    expect(host.version).toBe('v1');
    expect(host.mounts).toEqual({
      'name=systemd': '/sys/fs/cgroup/systemd',
      cpu: '/sys/fs/cgroup/cpu,cpuacct',
      cpuacct: '/sys/fs/cgroup/cpu,cpuacct',
      memory: '/sys/fs/cgroup/mem ory',
    });
    expect(host.unified).toEqual({ mount: '/sys/fs/cgroup/unified', controllers: ['hugetlb'] });
    expect(host.swapAccounting).toBe(false);
  });

  it('takes a host whose unified hierarchy has the controllers as v2', () => {
    const host = detectCgroups(
      { mountinfo: UNIFIED, selfCgroup: '0::/user.slice/shell.scope' },
      files({ '/sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io memory pids' }),
    );
    expect(host.version).toBe('v2');
    expect(host.ownUnified).toBe('/user.slice/shell.scope');
    expect(host.swapAccounting).toBe(true);
  });

  it('says none where nothing is mounted', () => {
    expect(detectCgroups({ mountinfo: '', selfCgroup: '' }, files({})).version).toBe('none');
  });
});

describe('parseCgroupParent()', () => {
  it.each([
    ['foo/bar', '/foo/bar'],
    ['/foo//bar/', '/foo/bar'],
    ['/', '/'],
  ])('makes %s the path %s', (text, path) => {
    expect(parseCgroupParent(text)).toBe(path);
  });

  it.each(['../x', '/a/../../b', 'a\nb', 'system.slice'])('refuses %j', (text) => {
    expect(() => parseCgroupParent(text)).toThrow(/Cannot use cgroup parent/);
  });
});
