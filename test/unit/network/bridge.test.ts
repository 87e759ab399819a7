import { describe, expect, it, test } from 'vitest';
import { type Prefix, parsePrefix } from '../../../src/network/addresses.ts';
import {
  bridgeName,
  clashes,
  type DesignInput,
  designNetwork,
  interfacesWithAdvertisedRoutes,
  parseNetwork,
} from '../../../src/network/bridge.ts';

function prefixes(...texts: string[]): Prefix[] {
  return texts.flatMap((text) => parsePrefix(text) ?? []);
}

const input: DesignInput = {
  name: 'bridge',
  bridge: 'tinyrun0',
  routes: [],
  ipv6: false,
  uplinkMtu: undefined,
  random: (length) => new Uint8Array(length).fill(0xab),
};

describe('designNetwork()', () => {
  it('takes the first range that no route of the host touches', () => {
    const subnet = (...routes: string[]): string =>
      designNetwork({ ...input, routes: prefixes(...routes) }).subnet;
    expect(subnet()).toBe('172.29.0.0/20');
    expect(subnet('0.0.0.0/0', '0.0.0.0/1', '128.0.0.0/1')).toBe('172.29.0.0/20');
    expect(subnet('172.29.3.4/32')).toBe('172.29.16.0/20');
    expect(subnet('172.29.0.0/16')).toBe('172.30.64.0/20');
    expect(subnet('172.16.0.0/12')).toBe('10.213.0.0/20');
    expect(subnet('172.16.0.0/12', '10.0.0.0/8')).toBe('192.168.96.0/20');
  });

  it('says so where everything private is routed', () => {
    const routes = prefixes('172.16.0.0/12', '10.0.0.0/8', '192.168.0.0/16');
    expect(() => designNetwork({ ...input, routes })).toThrow(
      'every address range for it clashes with a route of the host',
    );
  });

  it('makes a record that is read back as it was', () => {
    const network = designNetwork({ ...input, ipv6: true, uplinkMtu: 1450 });
    expect(network).toEqual({
      name: 'bridge',
      id: 'ab'.repeat(32),
      bridge: 'tinyrun0',
      mac: '02:42:ab:ab:ab:ab',
      subnet: '172.29.0.0/20',
      gateway: '172.29.0.1',
      subnet6: 'fdab:abab:abab::/64',
      gateway6: 'fdab:abab:abab::1',
      mtu: 1450,
    });
    expect(parseNetwork(JSON.parse(JSON.stringify(network)))).toEqual(network);
  });

  test.each([
    [undefined, 1500],
    [9001, 1500],
    [1420, 1420],
    [576, 1280],
  ])('MTU of the uplink %s: %i', (uplinkMtu, mtu) => {
    expect(designNetwork({ ...input, uplinkMtu }).mtu).toBe(mtu);
  });
});

describe('parseNetwork()', () => {
  test.each([null, [], 'x', {}, { name: 'bridge', id: 1 }])('refuses %j', (value) => {
    expect(() => parseNetwork(value)).toThrow(TypeError);
  });
});

describe('clashes()', () => {
  it('goes by any overlap', () => {
    const [candidate] = prefixes('172.29.0.0/20');
    expect(candidate && clashes(candidate, prefixes('172.29.15.255/32'))).toBe(true);
    expect(candidate && clashes(candidate, prefixes('172.29.16.0/20', 'fd00::/8'))).toBe(false);
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
  });
});
