import { expect, test } from 'vitest';
import { birthplace } from '../../../src/engine/exec.ts';

const OWN = '/sys/fs/cgroup/tinyrun/abc';

test.each([
  ['where it was put', '0::/tinyrun/abc', OWN],
  ['further down', '1:cpu:/x\n0::/tinyrun/abc/init.scope\n', `${OWN}/init.scope`],
  ['elsewhere', '0::/tinyrun/abcd', OWN],
  ['out of our sight', '0::/../../tinyrun/abc/x', OWN],
  ['with a trick', '0::/tinyrun/abc/../../x', OWN],
  ['nowhere', '', OWN],
])('birthplace() with the first process %s', (_, text, expected) => {
  expect(birthplace(OWN, '/sys/fs/cgroup', text)).toBe(expected);
});
