import { describe, expect, it, test } from 'vitest';
import { type Prefix, parsePrefix } from '../../../src/network/addresses.ts';
import { parseNetwork } from '../../../src/network/bridge.ts';
import {
  clashes,
  type DesignInput,
  designNetwork,
  designUserNetwork,
  type NetworkWishes,
} from '../../../src/network/design.ts';

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

describe('clashes()', () => {
  it('goes by any overlap', () => {
    const [candidate] = prefixes('172.29.0.0/20');
    expect(candidate && clashes(candidate, prefixes('172.29.15.255/32'))).toBe(true);
    expect(candidate && clashes(candidate, prefixes('172.29.16.0/20', 'fd00::/8'))).toBe(false);
  });
});

describe('designUserNetwork()', () => {
  const created = '2026-01-02T03:04:05Z';
  const user = (wishes: Partial<NetworkWishes> = {}, taken: string[] = [], routes: string[] = []) =>
    designUserNetwork(
      { ...input, name: 'mine', bridge: 'trnabababababab', routes: prefixes(...routes, ...taken) },
      { created, ...wishes },
      prefixes(...taken),
    );

  it('takes small subnets, one for each of hundreds of networks', () => {
    expect(user().subnet).toBe('10.213.255.0/24');
    expect(user({}, ['10.213.255.0/24', '10.213.254.0/24']).subnet).toBe('10.213.253.0/24');
    const taken = Array.from({ length: 256 }, (_, octet) => `10.213.${octet}.0/24`);
    expect(user({}, taken).subnet).toBe('10.147.255.0/24');
  });

  it('keeps off the routes of the host', () => {
    expect(user({}, [], ['10.213.0.0/16']).subnet).toBe('10.147.255.0/24');
    expect(() => user({}, [], ['10.0.0.0/8', '172.16.0.0/12'])).toThrow(
      'could not find an available, non-overlapping IPv4 address pool',
    );
  });

  it('does as it is told', () => {
    const network = user({
      subnet: '10.9.0.0/16',
      gateway: '10.9.0.254',
      range: '10.9.4.0/24',
      subnet6: 'fd00:9::/64',
      mtu: 1400,
      internal: true,
      labels: { tier: 'db' },
    });
    expect(network).toMatchObject({
      name: 'mine',
      subnet: '10.9.0.0/16',
      gateway: '10.9.0.254',
      range: '10.9.4.0/24',
      subnet6: 'fd00:9::/64',
      gateway6: 'fd00:9::1',
      mtu: 1400,
      internal: true,
      created,
    });
    expect(parseNetwork(JSON.parse(JSON.stringify(network)))).toEqual(network);
  });

  test.each([
    [{ subnet: '10.9.0.0' }, 'invalid subnet "10.9.0.0"'],
    [{ subnet: '10.9.0.0/31' }, 'invalid subnet'],
    [{ subnet: 'fd00::/64' }, 'invalid subnet'],
    [{ subnet: '10.8.1.0/24' }, 'invalid pool request: Pool overlaps with other one on this address space'],
    [{ subnet: '10.9.0.0/24', gateway: '10.10.0.1' }, 'invalid gateway "10.10.0.1"'],
    [{ subnet: '10.9.0.0/24', gateway: '10.9.0.0' }, 'invalid gateway'],
    [{ subnet: '10.9.0.0/24', range: '10.9.1.0/25' }, 'invalid ip-range "10.9.1.0/25"'],
    [{ subnet: '10.9.0.0/24', range: '10.9.0.0/16' }, 'invalid ip-range'],
  ])('refuses %j', (wishes, message) => {
    expect(() => user(wishes, ['10.8.0.0/16'])).toThrow(message);
  });
});
