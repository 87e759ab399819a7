import { describe, expect, it } from 'vitest';
import { parseLocation } from '../../../src/image/locations.ts';

describe('parseLocation()', () => {
  it.each([
    ['docker://busybox', { kind: 'registry', reference: { registry: 'docker.io', tag: 'latest' } }],
    [
      `docker://r.io:5000/a/b@sha256:${'a'.repeat(64)}`,
      { kind: 'registry', reference: { repository: 'a/b' } },
    ],
    ['oci:dir', { kind: 'layout', path: 'dir' }],
    ['oci:dir/sub:v1:x', { kind: 'layout', path: 'dir/sub', tag: 'v1:x' }],
    ['oci-archive:a.tar:v', { kind: 'oci-archive', path: 'a.tar', tag: 'v' }],
    [
      'docker-archive:a.tar:box',
      { kind: 'docker-archive', path: 'a.tar', name: { repository: 'library/box', tag: 'latest' } },
    ],
    ['store:oci:latest', { kind: 'store', text: 'oci:latest' }],
    ['busybox:1', { kind: 'store', text: 'busybox:1' }],
  ])('reads %s', (text, expected) => {
    expect(parseLocation(text)).toMatchObject(expected);
  });

  it.each([
    ['containers-storage:x', 'the transport "containers-storage" is not known'],
    ['oci::x', 'there is no path in it'],
    ['docker://Bad', 'must be lowercase'],
  ])('refuses %s', (text, why) => {
    expect(() => parseLocation(text)).toThrow(why);
  });
});
