import { describe, expect, test } from 'vitest';
import { detectCgroups } from '../../../src/cgroups/host.ts';
import type { CgroupWrite } from '../../../src/cgroups/writes.ts';
import { applyWrites, changedWrites, mergeLimits } from '../../../src/engine/update.ts';

const host = detectCgroups({ mountinfo: '', selfCgroup: '' }, () => undefined);
const cgroup = { host, directories: { memory: '/m/c' } };
const memory = (file: string, value: string, optional = false): CgroupWrite => ({
  controller: 'memory',
  file,
  value,
  ...(optional ? { optional } : {}),
});
const container = { name: 'web' };

test('mergeLimits() takes 0 for "as it is", but not of the number of processes', () => {
  const before = { memory: 5, cpus: 2, pidsLimit: 9 };
  expect(mergeLimits(before, { memory: 0, cpus: 1, pidsLimit: 0 })).toEqual({
    memory: 5,
    cpus: 1,
    pidsLimit: 0,
  });
});

test('changedWrites() are those with a new value', () => {
  const old = [memory('a', '1'), memory('b', '2')];
  expect(changedWrites(old, [memory('a', '1'), memory('b', '3'), memory('c', '4')])).toEqual([
    memory('b', '3'),
    memory('c', '4'),
  ]);
});

describe('applyWrites()', () => {
  /** As v1: the one must not be above the other. */
  function kernel(limit: number, swap: number) {
    const files = new Map([
      ['/m/c/limit', limit],
      ['/m/c/swap', swap],
    ]);
    const write = (path: string, value: string): void => {
      const next = new Map([...files, [path, Number(value)]]);
      if ((next.get('/m/c/limit') ?? 0) > (next.get('/m/c/swap') ?? 0)) {
        throw Object.assign(new Error('EINVAL'), { code: 'EINVAL' });
      }
      files.set(path, Number(value));
    };
    return { files, write };
  }

  test.each([
    ['up', 10, 20],
    ['down', 1, 2],
  ])('finds the order on the way %s', (_, limit, swap) => {
    const { files, write } = kernel(4, 8);
    applyWrites([memory('limit', String(limit)), memory('swap', String(swap))], cgroup, container, write);
    expect([...files.values()]).toEqual([limit, swap]);
  });

  test('says what the kernel refuses', () => {
    const write = (): never => {
      throw Object.assign(new Error('EBUSY'), { code: 'EBUSY' });
    };
    expect(() => applyWrites([memory('limit', '1')], cgroup, container, write)).toThrow(
      'Cannot update container "web": limit "1": EBUSY',
    );
    applyWrites([memory('limit', '1', true)], cgroup, container, write);
  });
});
