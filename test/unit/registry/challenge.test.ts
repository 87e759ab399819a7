import { describe, expect, it } from 'vitest';
import { parseChallenges } from '../../../src/registry/challenge.ts';

const plain = (headers: string[]) =>
  parseChallenges(headers).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

describe('parseChallenges()', () => {
  it.each<[string, string[], unknown[]]>([
    [
      "Docker Hub's",
      [
        'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/busybox:pull"',
      ],
      [
        [
          'bearer',
          {
            realm: 'https://auth.docker.io/token',
            service: 'registry.docker.io',
            scope: 'repository:library/busybox:pull',
          },
        ],
      ],
    ],
    [
      'several in one header',
      ['Basic realm="a, b", Bearer realm="c",scope="d"'],
      [
        ['basic', { realm: 'a, b' }],
        ['bearer', { realm: 'c', scope: 'd' }],
      ],
    ],
    [
      'several headers',
      ['Basic realm="a"', 'Bearer realm="b"'],
      [
        ['basic', { realm: 'a' }],
        ['bearer', { realm: 'b' }],
      ],
    ],
    [
      'token68',
      ['Negotiate YWJj==, Bearer realm="b"'],
      [
        ['negotiate', {}],
        ['bearer', { realm: 'b' }],
      ],
    ],
    [
      'no parameters',
      ['Negotiate, Basic realm=x'],
      [
        ['negotiate', {}],
        ['basic', { realm: 'x' }],
      ],
    ],
    ['spaces and cases', ['BEARER  Realm = "a" ,  SERVICE=b'], [['bearer', { realm: 'a', service: 'b' }]]],
    ['escapes', ['Basic realm="a\\"b\\\\c"'], [['basic', { realm: 'a"b\\c' }]]],
    ['a parameter twice', ['Basic realm="a",realm="b"'], [['basic', { realm: 'a' }]]],
    [
      'several scopes',
      ['Bearer realm="r",scope="repository:a:pull repository:b:pull"'],
      [['bearer', { realm: 'r', scope: 'repository:a:pull repository:b:pull' }]],
    ],
    [
      'an open quote',
      ['Basic realm="a", Bearer realm="b'],
      [
        ['basic', { realm: 'a' }],
        ['bearer', {}],
      ],
    ],
    ['nonsense', ['"""', ',,,', '', '='], []],
  ])('reads %s', (_name, headers, expected) => {
    expect(plain(headers)).toEqual(expected);
  });

  it('ends quickly on a hostile header', () => {
    const started = performance.now();
    parseChallenges([
      `Bearer ${'a='.repeat(50_000)}`,
      `Bearer x="${'\\'.repeat(50_000)}`,
      ' ,'.repeat(50_000),
    ]);
    expect(performance.now() - started).toBeLessThan(200);
  });
});
