import { describe, expect, test } from 'vitest';
import { propagationProblem, rootPropagationOf } from '../../../src/engine/propagation.ts';

const MOUNTINFO = `27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 27 0:30 / /mnt rw shared:5 - tmpfs a rw
41 40 0:31 / /mnt/with\\040space rw master:5 - tmpfs b rw
42 40 0:32 / /mnt/over rw shared:7 - tmpfs c rw
43 42 0:33 / /mnt/over rw - tmpfs d rw
`;

describe('propagationProblem()', () => {
  test.each([
    ['/home', false, 'is mounted on / but it is not a shared mount'],
    ['/home', true, 'is mounted on / but it is not a shared or slave mount'],
    ['/mnt/x', false, undefined],
    ['/mntx', false, 'is mounted on / but it is not a shared mount'],
    ['/mnt/with space/x', true, undefined],
    ['/mnt/with space', false, 'is mounted on /mnt/with space but it is not a shared mount'],
    ['/mnt/over', false, 'is mounted on /mnt/over but it is not a shared mount'],
  ])('%s, slave: %s', (path, slave, problem) => {
    expect(propagationProblem(path, slave, MOUNTINFO)).toBe(problem);
  });
});

describe('rootPropagationOf()', () => {
  test.each([
    [[], undefined],
    [['rprivate', ''], undefined],
    [['slave', 'rprivate'], 'rslave'],
    [['rslave', 'rshared'], 'shared'],
  ] as const)('%j', (words, root) => {
    const mounts = words.map((propagation) => ({
      type: 'bind' as const,
      source: '/s',
      target: '/t',
      readonly: false,
      recursive: true,
      createSource: true,
      propagation,
      options: [],
    }));
    expect(rootPropagationOf({ mounts })).toBe(root);
  });
});
