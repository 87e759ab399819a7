import { describe, expect, it, test } from 'vitest';
import {
  bridgeName,
  interfacesWithAdvertisedRoutes,
  parseNetwork,
  userBridgeName,
} from '../../../src/network/bridge.ts';

describe('parseNetwork()', () => {
  test.each([null, [], 'x', {}, { name: 'bridge', id: 1 }])('refuses %j', (value) => {
    expect(() => parseNetwork(value)).toThrow(TypeError);
  });
});

describe('interfacesWithAdvertisedRoutes()', () => {
  it('finds the routes that the kernel made from advertisements', () => {
    const zero = '0'.repeat(32);
    const line = (flags: string, name: string): string =>
      `${zero} 00 ${zero} 00 ${zero} 00000400 00000001 00000000 ${flags} ${name.padStart(8)}`;
    const text = [
      line('00450003', 'eth0'),
      line('00000001', 'eth1'),
      line('00440001', 'wlan0'),
      line('80200001', 'lo'),
    ].join('\n');
    expect(interfacesWithAdvertisedRoutes(`${text}\n`)).toEqual(['eth0', 'wlan0']);
    expect(interfacesWithAdvertisedRoutes('')).toEqual([]);
  });
});

describe('bridgeName()', () => {
  it("fits into an interface's name", () => {
    expect(bridgeName('')).toBe('tinyrun0');
    expect(bridgeName('a1b2c3')).toBe('tr-a1b2c3');
    expect(userBridgeName('ab'.repeat(32))).toBe('trnabababababab');
  });
});
