import { describe, expect, test } from 'vitest';
import { pruneFilter } from '../../../../src/cli/commands/container-prune.ts';
import { allPorts, onePort } from '../../../../src/cli/commands/port.ts';
import type { Container } from '../../../../src/engine/index.ts';

const PORTS = {
  '8080/tcp': [
    { HostIp: '0.0.0.0', HostPort: '80' },
    { HostIp: '::', HostPort: '80' },
  ],
  '53/udp': [{ HostIp: '127.0.0.1', HostPort: '5353' }],
  '9/tcp': null,
};

test('allPorts() are in the order of their numbers, without those that are exposed only', () => {
  expect(allPorts(PORTS)).toEqual([
    '53/udp -> 127.0.0.1:5353',
    '8080/tcp -> 0.0.0.0:80',
    '8080/tcp -> [::]:80',
  ]);
});

test.each([
  ['8080', ['0.0.0.0:80', '[::]:80']],
  ['8080/TCP', ['0.0.0.0:80', '[::]:80']],
  ['53', undefined],
  ['9/tcp', undefined],
  ['constructor', undefined],
])('onePort() of %s', (wanted, expected) => {
  expect(onePort(PORTS, wanted)).toEqual(expected);
});

describe('pruneFilter()', () => {
  const container = {
    record: {
      created: '2026-01-01T00:00:00.000000000Z',
      image: { config: { Labels: { from: 'image' } } },
      options: { labels: { a: '1', b: '' } },
    },
  } as unknown as Container;
  const now = Date.parse('2026-01-01T01:00:00Z');

  test.each([
    [[], true],
    [[['label', 'a']], true],
    [[['label', 'a=1']], true],
    [[['label', 'a=2']], false],
    [[['label', 'from=image']], true],
    [[['label!', 'a']], false],
    [[['label!', 'c']], true],
    [[['until', '30m']], true],
    [[['until', '2h']], false],
    [[['until', '2025-12-31']], false],
    [
      [
        ['label', 'a'],
        ['until', '2h'],
      ],
      false,
    ],
  ] as [pairs: [string, string][], expected: boolean][])('%j is %s', (pairs, expected) => {
    expect(pruneFilter(pairs, now)(container)).toBe(expected);
  });

  test('knows no other key', () => {
    expect(() => pruneFilter([['nosuch', '1']], now)).toThrow("invalid filter 'nosuch'");
  });
});
