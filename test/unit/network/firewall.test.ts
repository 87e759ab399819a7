import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parseAddress } from '../../../src/network/addresses.ts';
import type { BridgeNetwork } from '../../../src/network/bridge.ts';
import { elementsOf, firewallOf, rulesetOf, tableName } from '../../../src/network/firewall.ts';
import type { Binding } from '../../../src/network/ports.ts';

const network: BridgeNetwork = {
  name: 'bridge',
  id: 'ab',
  bridge: 'tinyrun0',
  mac: '02:42:ab:ab:ab:ab',
  subnet: '172.29.0.0/20',
  gateway: '172.29.0.1',
  mtu: 1500,
};
const dual: BridgeNetwork = { ...network, subnet6: 'fd00::/64', gateway6: 'fd00::1' };

const rules = (of: BridgeNetwork): string => rulesetOf('', [of]);

describe('firewallOf()', () => {
  it('names the table and a stamp that changes with the network', () => {
    const [one, two] = [firewallOf('', network), firewallOf('a1b2c3', dual)];
    expect(one.table).toBe('tinyrun');
    expect(two.table).toBe('tinyrun-a1b2c3');
    expect(one.stamp).not.toBe(two.stamp);
    expect(firewallOf('', { ...network })).toEqual(one);
  });
});

describe('rulesetOf()', () => {
  it('goes with RULES_VERSION: raise that, then put the new hash here', () => {
    expect(createHash('sha256').update(rules(dual)).digest('hex').slice(0, 16)).toBe('5a049bfc561b01d3');
  });

  it('replaces the table in one transaction', () => {
    expect(rules(network)).toMatch(/^table inet tinyrun\ndelete table inet tinyrun\ntable inet tinyrun \{\n/);
    expect(rules(network)).toContain(`chain ${firewallOf('', network).stamp} {`);
  });

  it('translates only what leaves by another interface', () => {
    const text = rules(dual);
    const masquerade = text.split('\n').filter((line) => line.includes('masquerade'));
    expect(masquerade.map((line) => line.trim())).toEqual([
      'ip saddr 172.29.0.0/20 oifname != "tinyrun0" masquerade',
      'ip6 saddr fd00::/64 oifname != "tinyrun0" masquerade',
    ]);
  });

  it('drops what others send to a container directly, or to loopback (CVE-2025-54388)', () => {
    const text = rules(dual);
    expect(text).toContain('iifname != "lo" ip daddr 127.0.0.0/8 drop');
    expect(text).toContain('iifname != { "lo", "tinyrun0" } ip daddr 172.29.0.0/20 drop');
    expect(text).toContain('iifname != { "lo", "tinyrun0" } ip6 daddr fd00::/64 drop');
    expect(rules(network)).not.toContain('fd00');
  });

  it('has the rules of every network, and lets nothing in or out of an internal one', () => {
    const inner = { ...network, bridge: 'trn1', subnet: '10.5.0.0/24', internal: true };
    const text = rulesetOf('', [network, inner]);
    for (const one of [network, inner]) expect(text).toContain(`chain ${firewallOf('', one).stamp} {`);
    expect(text).toContain('iifname "trn1" oifname != "trn1" drop');
    expect(text).toContain('iifname != "trn1" oifname "trn1" drop');
    expect(text).toContain('iifname != { "lo", "trn1" } ip daddr 10.5.0.0/24 drop');
    expect(text).toContain('iifname != "tinyrun0" oifname "tinyrun0" jump inbound');
    expect(firewallOf('', inner).stamp).not.toBe(firewallOf('', { ...inner, internal: false }).stamp);
  });

  it('never translates loopback', () => {
    expect(rules(network)).toContain('ip daddr != 127.0.0.0/8 fib daddr type local jump published');
  });
});

describe('elementsOf()', () => {
  const address = (text: string): Uint8Array => parseAddress(text) ?? new Uint8Array();
  const container = { ipv4: address('172.29.0.2'), ipv6: address('fd00::2') };
  const binding = (hostIp: string, more: Partial<Binding> = {}): Binding => ({
    protocol: 'tcp',
    hostIp,
    hostPort: 8080,
    containerPort: 80,
    ...more,
  });
  const sets = (bindings: Binding[], who: Parameters<typeof elementsOf>[1] = container): string[] =>
    elementsOf(bindings, who).map((element) => element.set);

  it('has a map for any address and one for each address', () => {
    expect(sets([binding('0.0.0.0'), binding('::')])).toEqual(['port4any', 'own4', 'port6any', 'own6']);
    expect(sets([binding('192.0.2.1'), binding('2001:db8::1')])).toEqual(['port4', 'own4', 'port6', 'own6']);
  });

  it('encodes address, protocol and port as nft does', () => {
    const [element] = elementsOf([binding('192.0.2.1', { protocol: 'udp' })], container);
    expect([...(element?.key ?? [])]).toEqual([192, 0, 2, 1, 17, 0, 0, 0, 0x1f, 0x90, 0, 0]);
    expect([...(element?.data ?? [])]).toEqual([172, 29, 0, 2, 0, 80, 0, 0]);
  });

  it('leaves loopback, and IPv6 without an address, to the proxy', () => {
    expect(sets([binding('127.0.0.1'), binding('::1')])).toEqual([]);
    expect(sets([binding('::')], { ipv4: container.ipv4 })).toEqual([]);
  });

  it("says once that a port is the container's own", () => {
    expect(sets([binding('192.0.2.1'), binding('192.0.2.2')])).toEqual(['port4', 'own4', 'port4']);
  });
});

describe('tableName()', () => {
  it('is apart for each store', () => {
    expect(tableName('')).toBe('tinyrun');
    expect(tableName('a1b2c3')).toBe('tinyrun-a1b2c3');
  });
});
