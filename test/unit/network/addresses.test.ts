import { describe, expect, it, test } from 'vitest';
import {
  addressAt,
  contains,
  formatAddress,
  formatMac,
  formatPrefix,
  isLoopback,
  macOf,
  offsetIn,
  overlaps,
  type Prefix,
  parseAddress,
  parseMac,
  parsePrefix,
} from '../../../src/network/addresses.ts';

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (parsed === undefined) throw new Error(`bad test prefix ${text}`);
  return parsed;
}

function address(text: string): Uint8Array {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(`bad test address ${text}`);
  return parsed;
}

describe('parseAddress()', () => {
  test.each([
    ['127.0.0.1', '127.0.0.1'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
    ['1:0:3:4:5:6:7:8', '1:0:3:4:5:6:7:8'],
    ['::ffff:192.0.2.1', '::ffff:c000:201'],
    ['fe80::42:acff:fe11:2', 'fe80::42:acff:fe11:2'],
  ])('reads %s and formats it by RFC 5952', (text, expected) => {
    expect(formatAddress(address(text))).toBe(expected);
  });

  test.each([
    '',
    '1.2.3',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.4.5',
    '1.2.3.4 ',
    ':',
    ':::',
    '1:2',
    '1::2::3',
    '12345::',
    'fe80::1%eth0',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::8',
    '::1.2.3',
    '1.2.3.4::',
    'g::',
    '0x7f.1',
    '127.1',
  ])('refuses "%s"', (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });
});

describe('parsePrefix()', () => {
  it('clears the bits behind the prefix', () => {
    expect(formatPrefix(prefix('172.29.17.5/20'))).toBe('172.29.16.0/20');
    expect(formatPrefix(prefix('fd00:1:2:3:4::/64'))).toBe('fd00:1:2:3::/64');
  });
  test.each(['10.0.0.0', '10.0.0.0/33', '::/129', '10.0.0.0/-1', '10.0.0.0/8/8', '/8'])(
    'refuses "%s"',
    (text) => {
      expect(parsePrefix(text)).toBeUndefined();
    },
  );
});

describe('contains() and overlaps()', () => {
  it('contains() goes by the prefix and the family', () => {
    expect(contains(prefix('172.29.0.0/20'), address('172.29.15.255'))).toBe(true);
    expect(contains(prefix('172.29.0.0/20'), address('172.29.16.0'))).toBe(false);
    expect(contains(prefix('0.0.0.0/0'), address('::1'))).toBe(false);
  });
  it('overlaps() is symmetric', () => {
    const [wide, narrow, other] = [prefix('172.16.0.0/12'), prefix('172.29.0.0/20'), prefix('10.0.0.0/8')];
    expect(overlaps(wide, narrow) && overlaps(narrow, wide)).toBe(true);
    expect(overlaps(wide, other) || overlaps(other, narrow)).toBe(false);
  });
});

describe('addressAt() and offsetIn()', () => {
  test.each([
    ['172.29.0.0/20', 1, '172.29.0.1'],
    ['172.29.0.0/20', 258, '172.29.1.2'],
    ['10.0.255.0/24', 256, '10.1.0.0'],
    ['fd00::/64', 4093, 'fd00::ffd'],
  ])('%s + %i is %s', (text, offset, expected) => {
    expect(formatAddress(addressAt(prefix(text), offset))).toBe(expected);
  });
  it('offsetIn() inverts addressAt()', () => {
    const subnet = prefix('172.29.16.0/20');
    for (const offset of [0, 1, 255, 256, 4095])
      expect(offsetIn(subnet, addressAt(subnet, offset))).toBe(offset);
  });
});

describe('isLoopback()', () => {
  test.each([
    ['127.9.9.9', true],
    ['::1', true],
    ['::ffff:127.0.0.1', true],
    ['::', false],
    ['128.0.0.1', false],
    ['::ffff:1.2.3.4', false],
  ])('%s: %s', (text, expected) => {
    expect(isLoopback(address(text))).toBe(expected);
  });
});

describe('parseMac()', () => {
  it('reads both separators', () => {
    expect(formatMac(parseMac('02:42:AC-1d:00:02') ?? new Uint8Array())).toBe('02:42:ac:1d:00:02');
    expect(formatMac(macOf(address('172.29.0.2')))).toBe('02:42:ac:1d:00:02');
  });
  test.each(['', '02:42:ac:1d:00', '03:42:ac:1d:00:02', '02:42:ac:1d:00:0g', '0242ac1d0002'])(
    'refuses "%s"',
    (text) => {
      expect(parseMac(text)).toBeUndefined();
    },
  );
});
