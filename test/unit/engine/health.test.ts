import { describe, expect, test } from 'vitest';
import type { ContainerRecord } from '../../../src/engine/containers.ts';
import { healthCheckOf } from '../../../src/engine/health.ts';
import type { HealthRequest } from '../../../src/engine/options.ts';
import type { Healthcheck } from '../../../src/oci/image-spec.ts';

function check(own: Healthcheck | undefined, asked?: HealthRequest, shell?: readonly string[]) {
  const record = {
    image: { config: { Healthcheck: own, Shell: shell } },
    options: { healthcheck: asked },
  };
  return healthCheckOf(record as unknown as ContainerRecord);
}

describe('healthCheckOf()', () => {
  test('has Docker’s defaults', () => {
    expect(check({ Test: ['CMD', 'probe', '-v'] })).toEqual({
      args: ['probe', '-v'],
      intervalMs: 30_000,
      timeoutMs: 30_000,
      retries: 3,
      startPeriodMs: 0,
      startIntervalMs: 5000,
    });
  });

  test.each([
    [
      ['CMD-SHELL', 'test -e /ok'],
      ['/bin/sh', '-c', 'test -e /ok'],
    ],
    [['NONE'], undefined],
    [[], undefined],
    [['CMD'], undefined],
    [['BOGUS', 'x'], undefined],
  ])('reads an image’s %j', (words, args) => {
    expect(check({ Test: words })?.args).toEqual(args);
  });

  test('runs a command line in the image’s shell', () => {
    expect(check(undefined, { command: 'a b' }, ['/bin/bash', '-ec'])?.args).toEqual([
      '/bin/bash',
      '-ec',
      'a b',
    ]);
  });

  test('takes each of the flags over the image’s value, in milliseconds', () => {
    const image = { Test: ['CMD', 'x'], Interval: 1e9, Timeout: 2e9, Retries: 7, StartPeriod: 3e9 };
    expect(check(image, { interval: 5e6, startInterval: 1e6, retries: 0 })).toMatchObject({
      intervalMs: 5,
      timeoutMs: 2000,
      retries: 7,
      startPeriodMs: 3000,
      startIntervalMs: 1,
    });
  });

  test('is switched off', () => {
    expect(check({ Test: ['CMD', 'x'] }, { off: true })).toBeUndefined();
    expect(check(undefined, { interval: 1e9 })).toBeUndefined();
  });
});
