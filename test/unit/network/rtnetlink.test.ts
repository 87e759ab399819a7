import { describe, expect, it } from 'vitest';
import { parseAddress, parseMac } from '../../../src/network/addresses.ts';
import {
  attributesOf,
  decode,
  encode,
  type Message,
  readText,
  readU32,
  text,
  u32,
} from '../../../src/network/netlink.ts';
import {
  addAddress,
  addBridge,
  addDefaultRoute,
  addVeth,
  getLink,
  linkUp,
  readLinks,
  readRoutes,
  vethPidOffset,
} from '../../../src/network/rtnetlink.ts';

const address = (value: string): Uint8Array => parseAddress(value) ?? new Uint8Array();
const mac = parseMac('02:42:ac:1d:00:02') ?? new Uint8Array();
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

function payloadOf(message: Message): Uint8Array {
  return decode(encode([message]))[0]?.payload ?? new Uint8Array();
}

describe('addVeth()', () => {
  const encoded = encode([
    addVeth({ hostName: 'trabc', master: 7, peerName: 'eth0', peerMac: mac, mtu: 1450 }),
  ]);

  it('has the process id of the namespace at vethPidOffset()', () => {
    const patched = encoded.slice();
    patched.set(u32(4711), vethPidOffset(patched));
    const link = attributesOf(decode(patched)[0]?.payload ?? new Uint8Array(), 16);
    expect(readText(link.get(3))).toBe('trabc');
    expect(readU32(link.get(10))).toBe(7);
    const info = attributesOf(link.get(18) ?? new Uint8Array(), 0);
    expect(readText(info.get(1))).toBe('veth');
    const peer = attributesOf(
      attributesOf(info.get(2) ?? new Uint8Array(), 0).get(1) ?? new Uint8Array(),
      16,
    );
    expect(readText(peer.get(3))).toBe('eth0');
    expect(peer.get(1)).toEqual(mac);
    expect(readU32(peer.get(4))).toBe(1450);
    expect(readU32(peer.get(19))).toBe(4711);
  });

  it('is one message that asks to be acknowledged and fails where the name is taken', () => {
    expect(decode(encoded)).toHaveLength(1);
    expect(new DataView(encoded.buffer).getUint16(6, true)).toBe(0x1 | 0x4 | 0x200 | 0x400);
  });
});

describe('addAddress()', () => {
  it('gives IPv4 a broadcast address', () => {
    const payload = payloadOf(addAddress(2, address('172.29.1.2'), 20));
    expect(hex(payload.subarray(0, 8))).toBe('0214000002000000');
    const attributes = attributesOf(payload, 8);
    expect(attributes.get(2)).toEqual(address('172.29.1.2'));
    expect(attributes.get(4)).toEqual(address('172.29.15.255'));
    expect(readU32(attributes.get(8))).toBe(0);
  });
  it('lets IPv6 skip duplicate detection, and a prefix be without a route', () => {
    const payload = payloadOf(addAddress(2, address('fd00::2'), 64, false));
    expect(hex(payload.subarray(0, 8))).toBe('0a40000002000000');
    expect(readU32(attributesOf(payload, 8).get(8))).toBe(0x202);
    expect(attributesOf(payload, 8).has(4)).toBe(false);
  });
});

describe('addDefaultRoute()', () => {
  it('goes to the gateway, on the link', () => {
    const payload = payloadOf(addDefaultRoute(2, address('172.29.0.1')));
    expect(hex(payload.subarray(0, 12))).toBe('02000000fe03000104000000');
    const attributes = attributesOf(payload, 12);
    expect(attributes.get(5)).toEqual(address('172.29.0.1'));
    expect(readU32(attributes.get(4))).toBe(2);
  });
});

describe('readLinks()', () => {
  it('reads what the kernel says of a link', () => {
    const body = new Uint8Array(16);
    body.set(u32(12), 4);
    body.set(u32(0x1003), 8);
    const reply = encode([
      {
        type: 16,
        flags: 0,
        body,
        attributes: [
          [3, text('tinyrun0')],
          [4, u32(1500)],
          [10, u32(3)],
        ],
      },
      { type: 2, flags: 0, body: new Uint8Array(4), attributes: [] },
    ]);
    expect(readLinks(reply)).toEqual([{ index: 12, name: 'tinyrun0', up: true, mtu: 1500, master: 3 }]);
  });
  it('ignores what is too short', () => {
    expect(readLinks(encode([{ type: 16, flags: 0, body: new Uint8Array(4), attributes: [] }]))).toEqual([]);
  });
});

describe('readRoutes()', () => {
  it('takes a route without destination for a default route', () => {
    const route = (length: number, attributes: Message['attributes']): Message => ({
      type: 24,
      flags: 0,
      body: Uint8Array.of(2, length, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0),
      attributes,
    });
    const routes = readRoutes(encode([route(0, [[4, u32(2)]]), route(12, [[1, address('172.16.0.0')]])]));
    expect(routes).toEqual([
      { destination: { bytes: new Uint8Array(4), length: 0 }, interfaceIndex: 2 },
      { destination: { bytes: address('172.16.0.0'), length: 12 }, interfaceIndex: 0 },
    ]);
  });
});

describe('getLink(), linkUp() and addBridge()', () => {
  it('name what they mean', () => {
    expect(readText(attributesOf(payloadOf(getLink({ name: 'tinyrun0' })), 16).get(3))).toBe('tinyrun0');
    expect(hex(payloadOf(linkUp(2)))).toBe(['00000000', '02000000', '01000000', '01000000'].join(''));
    const bridge = attributesOf(payloadOf(addBridge('tinyrun0', mac, 1400)), 16);
    expect(readText(attributesOf(bridge.get(18) ?? new Uint8Array(), 0).get(1))).toBe('bridge');
  });
});
