/** The default network: how it is designed (pure), and how its bridge comes to be and is repaired. */
import { errorCode, TinyrunError } from '../errors.ts';
import {
  addressAt,
  formatAddress,
  formatMac,
  formatPrefix,
  overlaps,
  type Prefix,
  parseAddress,
  parseMac,
  parsePrefix,
} from './addresses.ts';
import type { NetworkHost } from './host.ts';
import { encode } from './netlink.ts';
import {
  addAddress,
  addBridge,
  deleteLink,
  enslave,
  getLink,
  getRoutes,
  type LinkState,
  linkUp,
  type Route,
  readLinkState,
  readLinks,
  readRoutes,
} from './rtnetlink.ts';

/** What `networks/<name>.json` holds. Addresses as text, prefixes as `172.29.0.0/20`. */
export interface BridgeNetwork {
  readonly name: string;
  /** 64 hex digits, as Docker's. */
  readonly id: string;
  /** Name of the bridge's interface. */
  readonly bridge: string;
  readonly mac: string;
  readonly subnet: string;
  readonly gateway: string;
  readonly subnet6?: string;
  readonly gateway6?: string;
  readonly mtu: number;
}

/**
 * 4093 containers each. None of the networks that Docker (172.17-172.28, 192.168), podman (10.88, 10.89), LXD, Kubernetes
 * (10.42-10.44, 10.96, 10.244) or libvirt (192.168.122) take first; the third octets keep off what offices and clouds start at 0.
 */
const CANDIDATES: readonly string[] = [
  ...[0, 16, 32, 48].map((octet) => `172.29.${octet}.0/20`),
  ...[64, 80, 96, 112].map((octet) => `172.30.${octet}.0/20`),
  ...[128, 144, 160, 176].map((octet) => `172.31.${octet}.0/20`),
  ...[0, 64, 128, 192].map((octet) => `10.213.${octet}.0/20`),
  ...[0, 64, 128, 192].map((octet) => `10.147.${octet}.0/20`),
  ...[96, 192, 208, 224].map((octet) => `192.168.${octet}.0/20`),
];

/** A default route is no clash, nor are the two halves of one that VPNs set to get before it. */
const SHORTEST_CLASH = 4;

/** Longest of Ethernet; the smallest that IPv6 allows. */
const MTU = { max: 1500, min: 1280 } as const;

/** `tinyrun0`, or `tr-<instance>` for a store that is not the default one. */
export function bridgeName(instance: string): string {
  return instance === '' ? 'tinyrun0' : `tr-${instance}`;
}

export interface DesignInput {
  readonly name: string;
  readonly bridge: string;
  /** Every route of the host, addresses of its own included (they are routes of the table `local`). */
  readonly routes: readonly Prefix[];
  /** Give the network IPv6. */
  readonly ipv6: boolean;
  /** Of the interface that the default route leaves by. */
  readonly uplinkMtu: number | undefined;
  readonly random: (length: number) => Uint8Array;
}

/** Chooses addresses that clash with no route of the host. Pure. @throws TinyrunError where all candidates are taken */
export function designNetwork(input: DesignInput): BridgeNetwork {
  const subnet = CANDIDATES.map((text) => parsePrefix(text)).find(
    (candidate) => candidate !== undefined && !clashes(candidate, input.routes),
  );
  if (subnet === undefined) {
    throw new TinyrunError(
      'unavailable',
      `Cannot make the network "${input.name}": every address range for it clashes with a route of the host`,
      { hint: `Free one of ${CANDIDATES.slice(0, 3).join(', ')}, … or use --network host` },
    );
  }
  const gateway = addressAt(subnet, 1);
  const base = {
    name: input.name,
    id: hex(input.random(32)),
    bridge: input.bridge,
    // Locally administered, unicast.
    mac: formatMac(Uint8Array.of(0x02, 0x42, ...input.random(4))),
    subnet: formatPrefix(subnet),
    gateway: formatAddress(gateway),
    mtu: Math.max(MTU.min, Math.min(MTU.max, input.uplinkMtu ?? MTU.max)),
  };
  return input.ipv6 ? withIpv6(base, input.random) : base;
}

/** RFC 4193: fd, a global id of 40 random bits, subnet 0. */
function withIpv6(network: BridgeNetwork, random: (length: number) => Uint8Array): BridgeNetwork {
  const subnet6: Prefix = { bytes: Uint8Array.of(0xfd, ...random(5), ...new Uint8Array(10)), length: 64 };
  return { ...network, subnet6: formatPrefix(subnet6), gateway6: formatAddress(addressAt(subnet6, 1)) };
}

export function clashes(candidate: Prefix, routes: readonly Prefix[]): boolean {
  return routes.some((route) => route.length >= SHORTEST_CLASH && overlaps(route, candidate));
}

/** What `clashes` needs, and the uplink's MTU: a dump of IPv4's routes and the addresses of the host's name servers. */
export function surveyHost(host: NetworkHost): { routes: Prefix[]; uplinkMtu: number | undefined } {
  const routes = readRoutes(host.netlink('route', encode([getRoutes('ipv4')])));
  const prefixes: Prefix[] = routes.map((route) => route.destination);
  for (const match of (host.readText('/etc/resolv.conf') ?? '').matchAll(/^nameserver\s+(\S+)/gm)) {
    const address = parseAddress(match[1] ?? '');
    if (address?.length === 4) prefixes.push({ bytes: address, length: 32 });
  }
  return { routes: prefixes, uplinkMtu: uplinkMtu(host, routes) };
}

/** Whether containers should get IPv6: the host has an address of its own that is neither loopback nor link-local. */
export function hostHasIpv6(host: NetworkHost): boolean {
  // /proc/net/if_inet6: address, index, prefix length, scope (00 global, 10 host, 20 link), flags, name.
  return (host.readText('/proc/net/if_inet6') ?? '')
    .split('\n')
    .some((line) => /^[0-9a-f]{32} \S+ \S+ 00 /.test(line));
}

/** Index and state of an interface, undefined where there is none of that name. */
export function findLink(host: NetworkHost, name: string): LinkState | undefined {
  return unlessMissing(() => readLinkState(host.netlink('route', encode([getLink({ name })]))));
}

function unlessMissing<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch (error) {
    if (errorCode(error) === 'ENODEV') return undefined;
    throw error;
  }
}

/**
 * Makes the bridge where it is missing and sets it up; gives it back the ports of containers that run, because a veth stays when
 * its bridge is deleted.
 * @param isPort whether a veth's name is one of this network's
 * @returns the index of its interface
 */
export function makeBridge(
  host: NetworkHost,
  network: BridgeNetwork,
  isPort: (name: string) => boolean,
): number {
  const mac = parseMac(network.mac) ?? Uint8Array.of(0x02, 0x42, ...host.random(4));
  const existing = findLink(host, network.bridge);
  if (existing === undefined) host.netlink('route', encode([addBridge(network.bridge, mac, network.mtu)]));
  const index = existing?.index ?? findLink(host, network.bridge)?.index;
  if (index === undefined) {
    throw new TinyrunError('internal', `Cannot make the bridge "${network.bridge}": it vanished`);
  }
  if (existing === undefined) {
    setBridgeSysctls(host, network);
    host.netlink(
      'route',
      encode(gatewayAddresses(network).map(([address, length]) => addAddress(index, address, length))),
    );
  }
  host.netlink('route', encode([linkUp(index)]));
  for (const name of interfaceNames(host.readText('/proc/net/dev') ?? '').filter(isPort)) {
    const port = unlessMissing(() => readLinks(host.netlink('route', encode([getLink({ name })])))[0]);
    if (port?.master === 0) host.netlink('route', encode([enslave(port.index, index)]));
  }
  return index;
}

/** Of /proc/net/dev: two lines of headings, then `name: numbers`. A dump by netlink has 2 kB for each interface. */
function interfaceNames(text: string): string[] {
  return text.split('\n').flatMap((line) => /^\s*([^:\s]+):/.exec(line)?.[1] ?? []);
}

function gatewayAddresses(network: BridgeNetwork): [Uint8Array, number][] {
  const pairs = [
    [network.gateway, network.subnet],
    [network.gateway6, network.subnet6],
  ];
  return pairs.flatMap(([gateway, subnet]): [Uint8Array, number][] => {
    const address = parseAddress(gateway ?? '');
    const prefix = parsePrefix(subnet ?? '');
    return address === undefined || prefix === undefined ? [] : [[address, prefix.length]];
  });
}

/** Narrows what `networks/<name>.json` held. @throws TypeError for anything else */
export function parseNetwork(value: unknown): BridgeNetwork {
  const record = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  const string = (key: string): string => {
    const field = record[key];
    if (typeof field !== 'string') throw new TypeError(`"${key}" is not a string`);
    return field;
  };
  const base = {
    name: string('name'),
    id: string('id'),
    bridge: string('bridge'),
    mac: string('mac'),
    subnet: string('subnet'),
    gateway: string('gateway'),
    mtu: typeof record.mtu === 'number' ? record.mtu : MTU.max,
  };
  if (record.subnet6 === undefined) return base;
  return { ...base, subnet6: string('subnet6'), gateway6: string('gateway6') };
}

/** Fine where there is none. */
export function removeBridge(host: NetworkHost, name: string): void {
  unlessMissing(() => host.netlink('route', encode([deleteLink(name)])));
}

/** Lets the kernel forward. Never switched back: others may rely on it by then, as with Docker. */
export function enableForwarding(host: NetworkHost, network: BridgeNetwork): void {
  switchOn(host, '/proc/sys/net/ipv4/ip_forward');
  const ipv6 = '/proc/sys/net/ipv6/conf/all/forwarding';
  if (network.subnet6 === undefined || host.readText(ipv6)?.trim() !== '0') return;
  // A router takes no router advertisements, and switching forwarding on throws away the default route that the host has from
  // one, unless accept_ra is 2. Only for interfaces that have such routes: on others it would only be an opening.
  for (const name of interfacesWithAdvertisedRoutes(host.readText('/proc/net/ipv6_route') ?? '')) {
    const acceptRa = `/proc/sys/net/ipv6/conf/${name}/accept_ra`;
    if (host.readText(acceptRa)?.trim() === '1') host.writeText(acceptRa, '2');
  }
  host.writeText(ipv6, '1');
}

/** Pure: the last two of the ten columns are the flags (RTF_ADDRCONF 0x40000: made by the kernel from an advertisement) and the name. */
export function interfacesWithAdvertisedRoutes(ipv6Routes: string): string[] {
  const names = new Set<string>();
  for (const line of ipv6Routes.split('\n')) {
    const columns = line.trim().split(/\s+/);
    const name = columns[9];
    if (name === undefined || name === 'lo' || name.includes('/')) continue;
    if ((Number.parseInt(columns[8] ?? '0', 16) & 0x40000) !== 0) names.add(name);
  }
  return [...names];
}

function setBridgeSysctls(host: NetworkHost, network: BridgeNetwork): void {
  const directory = `/proc/sys/net/ipv6/conf/${network.bridge}`;
  if (host.readText(`${directory}/accept_ra`) === undefined) return;
  // A container must not be able to become the host's router (CVE-2020-13401).
  host.writeText(`${directory}/accept_ra`, '0');
  // As long as the bridge's link-local address is tentative (a second), nothing is forwarded to the containers.
  host.writeText(`${directory}/accept_dad`, '0');
  host.writeText(`${directory}/disable_ipv6`, network.subnet6 === undefined ? '1' : '0');
}

function switchOn(host: NetworkHost, path: string): void {
  if (host.readText(path)?.trim() === '0') host.writeText(path, '1');
}

function uplinkMtu(host: NetworkHost, routes: readonly Route[]): number | undefined {
  const uplink = routes.find((route) => route.destination.length === 0 && route.interfaceIndex !== 0);
  if (uplink === undefined) return undefined;
  // Missing: it went between the two calls.
  const message = getLink({ index: uplink.interfaceIndex });
  return unlessMissing(() => readLinks(host.netlink('route', encode([message])))[0]?.mtu);
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
