import { describe, expect, test } from 'vitest';
import { detectCgroups } from '../../../src/cgroups/host.ts';
import { freezerOf } from '../../../src/engine/pause.ts';

const hostWith = (files: Record<string, string>) =>
  detectCgroups({ mountinfo: '', selfCgroup: '' }, (path) => files[path]);
const directories = { unified: '/u/c', freezer: '/f/c' };

describe('freezerOf()', () => {
  test.each([
    ['v2 and hybrid', ['/u/c/cgroup.freeze', '/f/c/freezer.state'], '/u/c/cgroup.freeze'],
    ['v1, or a unified hierarchy of an old kernel', ['/f/c/freezer.state'], '/f/c/freezer.state'],
    ['a container that has ended', [], undefined],
  ] as const)('on %s', (_, files, expected) => {
    const found = freezerOf({ host: hostWith({}), directories }, (path) =>
      (files as readonly string[]).includes(String(path)),
    );
    expect(found?.file).toBe(expected);
  });

  test('is done when the kernel says so', () => {
    const v2 = freezerOf({ host: hostWith({}), directories }, () => true);
    expect(v2?.frozen(hostWith({ '/u/c/cgroup.events': 'populated 1\nfrozen 0' }))).toBe(false);
    expect(v2?.frozen(hostWith({ '/u/c/cgroup.events': 'populated 1\nfrozen 1' }))).toBe(true);
    const v1 = freezerOf({ host: hostWith({}), directories: { freezer: '/f/c' } }, () => true);
    expect(v1?.frozen(hostWith({ '/f/c/freezer.state': 'FREEZING' }))).toBe(false);
    expect(v1?.frozen(hostWith({ '/f/c/freezer.state': 'FROZEN' }))).toBe(true);
  });
});
