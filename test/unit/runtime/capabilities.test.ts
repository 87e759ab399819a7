import { describe, expect, test } from 'vitest';
import { TinyrunError } from '../../../src/errors.ts';
import {
  CAPABILITIES,
  capabilitiesOf,
  capabilityMask,
  DEFAULT_CAPABILITIES,
  ownCapabilities,
} from '../../../src/runtime/capabilities.ts';

const without = (...names: string[]) => DEFAULT_CAPABILITIES.filter((name) => !names.includes(name));

describe('capabilitiesOf()', () => {
  test.each([
    ['nothing', [], [], DEFAULT_CAPABILITIES],
    ['one dropped', [], ['CHOWN'], without('CAP_CHOWN')],
    ['one dropped with its prefix, in lower case', [], ['cap_chown'], without('CAP_CHOWN')],
    ['one added', ['SYS_TIME'], [], [...DEFAULT_CAPABILITIES, 'CAP_SYS_TIME']],
    ['one added that is there', ['CHOWN'], [], DEFAULT_CAPABILITIES],
    ['all dropped', [], ['ALL'], []],
    ['all dropped, two added', ['CHOWN', 'net_raw'], ['all'], ['CAP_CHOWN', 'CAP_NET_RAW']],
    ['all added', ['ALL'], [], CAPABILITIES],
    ['all added but one', ['ALL'], ['SYS_ADMIN'], CAPABILITIES.filter((name) => name !== 'CAP_SYS_ADMIN')],
    ['the same dropped and added', ['CHOWN'], ['CHOWN'], [...without('CAP_CHOWN'), 'CAP_CHOWN']],
  ])('%s', (_name, add, drop, expected) => {
    expect(capabilitiesOf({ add, drop, privileged: false })).toEqual(expected);
  });

  test('gives a privileged container what we have', () => {
    const available = capabilityMask(CAPABILITIES) & ~(1n << 24n);
    const result = capabilitiesOf({ add: [], drop: ['ALL'], privileged: true, available });
    expect(result).toEqual(CAPABILITIES.filter((name) => name !== 'CAP_SYS_RESOURCE'));
  });

  test('refuses names that are unknown or not available', () => {
    expect(() => capabilitiesOf({ add: ['FLY'], drop: [], privileged: false })).toThrow(
      new TinyrunError('invalid', 'unknown capability: "CAP_FLY"'),
    );
    expect(() =>
      capabilitiesOf({ add: ['SYS_RESOURCE'], drop: [], privileged: false, available: 0xffn }),
    ).toThrow('not available in the current environment: "CAP_SYS_RESOURCE"');
  });
});

test('capabilityMask() of the default set is what Docker shows', () => {
  expect(capabilityMask(DEFAULT_CAPABILITIES).toString(16)).toBe('a80425fb');
});

test('ownCapabilities() reads CapEff', () => {
  expect(ownCapabilities('Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t000001ffffffffff\n')).toBe(
    0x1ffffffffffn,
  );
  expect(ownCapabilities('')).toBeUndefined();
});
