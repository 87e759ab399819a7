/** A network's record, and how its bridge comes to be and is repaired. */
import { errorCode, TinyrunError } from '../errors.ts';
import { type Prefix, parseAddress, parseMac, parsePrefix } from './addresses.ts';
import { MTU } from './design.ts';
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
  /** RFC 3339; the default network, which nobody has made, has none. */
  readonly created?: string;
  /** Nothing beyond the host is reached from it, or reaches into it. */
  readonly internal?: boolean;
  /** Addresses are given out of this part of the subnet. */
  readonly range?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** As they were given, for `inspect`. */
  readonly options?: Readonly<Record<string, string>>;
}

/** Of the default network: `tinyrun0`, or `tr-<instance>` for a store that is not the default one. */
export function bridgeName(instance: string): string {
  return instance === '' ? 'tinyrun0' : `tr-${instance}`;
}

/** Of a network that a user has made; no veth of ours has an `n` there (see `hostInterfaceName`). */
export function userBridgeName(id: string): string {
  return `trn${id.slice(0, 12)}`;
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
  const texts = (key: string): Readonly<Record<string, string>> => {
    const field = record[key];
    if (typeof field !== 'object' || field === null) throw new TypeError(`"${key}" is not an object`);
    return Object.fromEntries(Object.entries(field).map(([name, value]) => [name, String(value)]));
  };
  return {
    ...base,
    ...(record.subnet6 === undefined ? {} : { subnet6: string('subnet6'), gateway6: string('gateway6') }),
    ...(record.created === undefined ? {} : { created: string('created') }),
    ...(record.internal === true ? { internal: true } : {}),
    ...(record.range === undefined ? {} : { range: string('range') }),
    ...(record.labels === undefined ? {} : { labels: texts('labels') }),
    ...(record.options === undefined ? {} : { options: texts('options') }),
  };
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
