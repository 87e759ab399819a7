/**
 * The rtnetlink messages that tinyrun sends, as bytes. Pure: who sends them, and in which network namespace, is the plan's
 * matter.
 * @see https://man7.org/linux/man-pages/man7/rtnetlink.7.html
 */
import type { Prefix } from './addresses.ts';
import {
  ACK,
  type Attribute,
  attributesOf,
  CREATE,
  DUMP,
  decode,
  EXCLUSIVE,
  encodeAttributes,
  HEADER,
  type Message,
  REQUEST,
  readText,
  readU32,
  text,
  u32,
} from './netlink.ts';

const RTM = {
  newLink: 16,
  delLink: 17,
  getLink: 18,
  setLink: 19,
  newAddress: 20,
  newRoute: 24,
  getRoute: 26,
} as const;
const IFLA = { address: 1, ifname: 3, mtu: 4, master: 10, linkInfo: 18, netNsPid: 19 } as const;
const INFO = { kind: 1, data: 2 } as const;
const VETH_INFO_PEER = 1;
const IFA = { address: 1, local: 2, broadcast: 4, flags: 8 } as const;
const RTA = { dst: 1, oif: 4, gateway: 5 } as const;

const IFF_UP = 1;
const IFA_F_NODAD = 0x02;
const IFA_F_NOPREFIXROUTE = 0x200;
const RTNH_F_ONLINK = 4;
const RT_TABLE_MAIN = 254;
const RTPROT_BOOT = 3;
const RTN_UNICAST = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const IFINFOMSG = 16;
const RTMSG = 12;

export interface LinkState {
  readonly index: number;
  readonly up: boolean;
}

export interface Link extends LinkState {
  readonly name: string;
  readonly mtu: number;
  /** Index of the bridge it is a port of; 0: none. */
  readonly master: number;
}

export interface Route {
  readonly destination: Prefix;
  /** Index of the interface it leaves by; 0 where it has none (unreachable, multipath). */
  readonly interfaceIndex: number;
}

/** A bridge, still down. A MAC of its own: otherwise it changes with every port, and with it the gateway of every container. */
export function addBridge(name: string, mac: Uint8Array, mtu: number): Message {
  return newLink(CREATE | EXCLUSIVE, linkBody({}), [
    [IFLA.ifname, text(name)],
    [IFLA.address, mac],
    [IFLA.mtu, u32(mtu)],
    [IFLA.linkInfo, [[INFO.kind, text('bridge')]]],
  ]);
}

/** An intermediate functional block, up: what is led to it goes on where it came from, after its queue. It may be there already. */
export function addIfb(name: string, index: number, mtu: number): Message {
  return newLink(CREATE, linkBody({ index, up: true }), [
    [IFLA.ifname, text(name)],
    [IFLA.mtu, u32(mtu)],
    [IFLA.linkInfo, [[INFO.kind, text('ifb')]]],
  ]);
}

export interface VethRequest {
  /** Name of the host's end, at most 15 bytes. */
  readonly hostName: string;
  /** Its index; absent: the kernel's choice. */
  readonly hostIndex?: number;
  /** Index of the bridge. */
  readonly master: number;
  readonly peerName: string;
  readonly peerMac: Uint8Array;
  readonly mtu: number;
}

/**
 * A pair of veths: this end up and a port of the bridge, the peer born in the network namespace of a process. The peer cannot
 * be born up together with this end (ENOTCONN), so its own namespace does that.
 * The four bytes for the process id are the message's last ones: see `vethPidOffset`.
 */
export function addVeth(request: VethRequest): Message {
  const peer: Attribute[] = [
    [IFLA.ifname, text(request.peerName)],
    [IFLA.address, request.peerMac],
    [IFLA.mtu, u32(request.mtu)],
    [IFLA.netNsPid, u32(0)],
  ];
  const { hostIndex: index } = request;
  return newLink(CREATE | EXCLUSIVE, linkBody({ ...(index === undefined ? {} : { index }), up: true }), [
    [IFLA.ifname, text(request.hostName)],
    [IFLA.mtu, u32(request.mtu)],
    [IFLA.master, u32(request.master)],
    [
      IFLA.linkInfo,
      [
        [INFO.kind, text('veth')],
        // VETH_INFO_PEER has an ifinfomsg before its attributes.
        [INFO.data, [[VETH_INFO_PEER, encodeAttributes(linkBody({}), peer)]]],
      ],
    ],
  ]);
}

/** Where the process id goes in an encoded `addVeth` that stands alone. */
export function vethPidOffset(encoded: Uint8Array): number {
  return encoded.length - 4;
}

export function linkUp(index: number): Message {
  return newLink(0, linkBody({ index, up: true }), []);
}

/** Makes an existing link a port of a bridge. */
export function enslave(index: number, master: number): Message {
  return { ...newLink(0, linkBody({ index, up: true }), [[IFLA.master, u32(master)]]), type: RTM.setLink };
}

export function deleteLink(name: string): Message {
  return {
    type: RTM.delLink,
    flags: REQUEST | ACK,
    body: linkBody({}),
    attributes: [[IFLA.ifname, text(name)]],
  };
}

/** Answered with ENODEV where there is none. */
export function getLink(by: { readonly name: string } | { readonly index: number }): Message {
  const attributes: Attribute[] = 'name' in by ? [[IFLA.ifname, text(by.name)]] : [];
  const body = linkBody('index' in by ? { index: by.index } : {});
  return { type: RTM.getLink, flags: REQUEST | ACK, body, attributes };
}

/**
 * @param onLink whether the other addresses of the prefix are reached directly; false: through the gateway, like everything else
 */
export function addAddress(index: number, address: Uint8Array, prefixLength: number, onLink = true): Message {
  const ipv4 = address.length === 4;
  // No duplicate detection for IPv6: the addresses are ours alone, and a tentative one cannot be used for a second.
  const flags = (ipv4 ? 0 : IFA_F_NODAD) | (onLink ? 0 : IFA_F_NOPREFIXROUTE);
  const attributes: Attribute[] = [
    [IFA.local, address],
    [IFA.address, address],
    // The struct's own field for flags has only 8 bits.
    [IFA.flags, u32(flags)],
  ];
  if (ipv4) attributes.push([IFA.broadcast, broadcastOf(address, prefixLength)]);
  return {
    type: RTM.newAddress,
    flags: REQUEST | ACK | CREATE | EXCLUSIVE,
    body: Uint8Array.of(ipv4 ? AF_INET : AF_INET6, prefixLength, 0, 0, ...u32(index)),
    attributes,
  };
}

/** The gateway is taken to be on the link, whatever the other routes say. */
export function addDefaultRoute(index: number, gateway: Uint8Array): Message {
  const family = gateway.length === 4 ? AF_INET : AF_INET6;
  return {
    type: RTM.newRoute,
    flags: REQUEST | ACK | CREATE | EXCLUSIVE,
    body: Uint8Array.of(family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, ...u32(RTNH_F_ONLINK)),
    attributes: [
      [RTA.gateway, gateway],
      [RTA.oif, u32(index)],
    ],
  };
}

/** A route to one prefix by a gateway that is taken to be on the link. */
export function addRoute(index: number, destination: Prefix, gateway: Uint8Array): Message {
  const message = addDefaultRoute(index, gateway);
  const body = message.body.slice();
  body[1] = destination.length;
  return { ...message, body, attributes: [[RTA.dst, destination.bytes], ...message.attributes] };
}

/** All tables of one family: policy routing of VPNs is not in `main`. */
export function getRoutes(family: 'ipv4' | 'ipv6'): Message {
  const body = new Uint8Array(RTMSG);
  body[0] = family === 'ipv4' ? AF_INET : AF_INET6;
  return { type: RTM.getRoute, flags: REQUEST | DUMP, body, attributes: [] };
}

export function readLinks(replies: Uint8Array): Link[] {
  const links: Link[] = [];
  for (const { type, payload } of decode(replies)) {
    if (type !== RTM.newLink || payload.length < IFINFOMSG) continue;
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    const attributes = attributesOf(payload, IFINFOMSG);
    links.push({
      index: view.getInt32(4, true),
      name: readText(attributes.get(IFLA.ifname)) ?? '',
      up: (view.getUint32(8, true) & IFF_UP) !== 0,
      mtu: readU32(attributes.get(IFLA.mtu)) ?? 0,
      master: readU32(attributes.get(IFLA.master)) ?? 0,
    });
  }
  return links;
}

/** Index and state of the first link, without reading the rest: this is asked for at every start. */
export function readLinkState(replies: Uint8Array): LinkState | undefined {
  const view = new DataView(replies.buffer, replies.byteOffset, replies.byteLength);
  if (replies.length < HEADER + IFINFOMSG || view.getUint16(4, true) !== RTM.newLink) return undefined;
  return {
    index: view.getInt32(HEADER + 4, true),
    up: (view.getUint32(HEADER + 8, true) & IFF_UP) !== 0,
  };
}

export function readRoutes(replies: Uint8Array): Route[] {
  const routes: Route[] = [];
  for (const { type, payload } of decode(replies)) {
    if (type !== RTM.newRoute || payload.length < RTMSG) continue;
    const attributes = attributesOf(payload, RTMSG);
    const bytes = attributes.get(RTA.dst) ?? new Uint8Array(payload[0] === AF_INET ? 4 : 16);
    routes.push({
      destination: { bytes, length: payload[1] ?? 0 },
      interfaceIndex: readU32(attributes.get(RTA.oif)) ?? 0,
    });
  }
  return routes;
}

function newLink(flags: number, body: Uint8Array, attributes: readonly Attribute[]): Message {
  return { type: RTM.newLink, flags: REQUEST | ACK | flags, body, attributes };
}

/** struct ifinfomsg: family, type, index, flags, mask of the flags to change. */
function linkBody(link: { readonly index?: number; readonly up?: boolean }): Uint8Array {
  const body = new Uint8Array(IFINFOMSG);
  const view = new DataView(body.buffer);
  view.setInt32(4, link.index ?? 0, true);
  if (link.up === true) {
    view.setUint32(8, IFF_UP, true);
    view.setUint32(12, IFF_UP, true);
  }
  return body;
}

function broadcastOf(address: Uint8Array, prefixLength: number): Uint8Array {
  return address.map((byte, index) => byte | (0xff >> Math.min(8, Math.max(0, prefixLength - index * 8))));
}
