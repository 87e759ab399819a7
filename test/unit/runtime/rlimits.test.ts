import { describe, expect, test } from 'vitest';
import { TinyrunError } from '../../../src/errors.ts';
import { kernelLimit, limitsFromProc, rlimitsOf, UNLIMITED } from '../../../src/runtime/rlimits.ts';

const HOST = [
  { type: 'RLIMIT_NOFILE', soft: 20000, hard: 20000 },
  { type: 'RLIMIT_CORE', soft: 0, hard: UNLIMITED },
];

describe('rlimitsOf()', () => {
  test.each([
    ['nothing asked', [], [{ type: 'RLIMIT_NOFILE', soft: 1024, hard: 20000 }]],
    [
      'open files asked',
      [{ name: 'nofile', soft: 5, hard: 6 }],
      [{ type: 'RLIMIT_NOFILE', soft: 5, hard: 6 }],
    ],
    [
      'unlimited where the host is',
      [{ name: 'core', soft: 0, hard: -1 }],
      [
        { type: 'RLIMIT_NOFILE', soft: 1024, hard: 20000 },
        { type: 'RLIMIT_CORE', soft: 0, hard: UNLIMITED },
      ],
    ],
  ])('%s', (_name, requests, expected) => {
    expect(rlimitsOf(requests, HOST, false)).toEqual(expected);
  });

  test('raises above the host only with the capability', () => {
    const request = [{ name: 'nofile', soft: 1, hard: 30000 }];
    expect(rlimitsOf(request, HOST, true)).toEqual([{ type: 'RLIMIT_NOFILE', soft: 1, hard: 30000 }]);
    expect(() => rlimitsOf(request, HOST, false)).toThrow(
      new TinyrunError(
        'denied',
        'Cannot set ulimit "nofile" to 30000: the hard limit here is 20000, raising it needs CAP_SYS_RESOURCE',
      ),
    );
  });

  test('keeps the soft default below a small hard limit', () => {
    expect(rlimitsOf([], [{ type: 'RLIMIT_NOFILE', soft: 10, hard: 512 }], false)).toEqual([
      { type: 'RLIMIT_NOFILE', soft: 512, hard: 512 },
    ]);
  });

  test('sets nothing where the host is not known', () => {
    expect(rlimitsOf([], [], false)).toEqual([]);
  });

  test('refuses unknown names and a soft limit above the hard one', () => {
    expect(() => rlimitsOf([{ name: 'files', soft: 1, hard: 1 }], HOST, true)).toThrow(
      'invalid ulimit type: files',
    );
    expect(() => rlimitsOf([{ name: 'core', soft: 2, hard: 1 }], HOST, true)).toThrow(
      'ulimit soft limit must be less than or equal to hard limit: 2 > 1',
    );
    expect(() => rlimitsOf([{ name: 'core', soft: -1, hard: 1 }], HOST, true)).toThrow(
      'soft limit must be less',
    );
  });
});

test('limitsFromProc() reads /proc/self/limits', () => {
  const text = `Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max open files            1024                 524288               files
Max realtime timeout      unlimited            unlimited            us
`;
  expect(limitsFromProc(text)).toEqual([
    { type: 'RLIMIT_CPU', soft: UNLIMITED, hard: UNLIMITED },
    { type: 'RLIMIT_NOFILE', soft: 1024, hard: 524288 },
    { type: 'RLIMIT_RTTIME', soft: UNLIMITED, hard: UNLIMITED },
  ]);
});

test('kernelLimit() turns unlimited into RLIM_INFINITY', () => {
  expect(kernelLimit(UNLIMITED)).toBe(0xffffffffffffffffn);
  expect(kernelLimit(1024)).toBe(1024n);
});
