/**
 * The firewall: one nft table of family `inet` per instance (nat in `inet`: Linux 5.2). Its text is made here and loaded once;
 * a start only puts elements into its maps.
 *
 * Tables of others stay untouched: a FORWARD chain with policy drop (Docker's, ufw's) also drops the packets of tinyrun's
 * containers, whatever this table says, because an accept is final only within its own table.
 */
import { errorCode } from '../errors.ts';
import { isLoopback, isUnspecified, parseAddress } from './addresses.ts';
import type { BridgeNetwork } from './bridge.ts';
import type { NetworkHost } from './host.ts';
import { concatenation, deleteTable, getChain, type SetElement, service } from './nfnetlink.ts';
import type { Binding } from './ports.ts';

const PROTOCOL_NUMBER = { tcp: 6, udp: 17 } as const;

/** ENOENT: flushed or never loaded; EINVAL, EOPNOTSUPP: a kernel without nf_tables. */
const ABSENT: readonly string[] = ['ENOENT', 'EINVAL', 'EOPNOTSUPP', 'EPROTONOSUPPORT'];

/** `tinyrun`, or `tinyrun-<instance>` for a store that is not the default one. */
export function tableName(instance: string): string {
  return instance === '' ? 'tinyrun' : `tinyrun-${instance}`;
}

/**
 * Goes up with every change of the rules below, so that a table that an older tinyrun loaded is replaced: the table's stamp
 * would tell from its text, but making that for every start takes longer than asking the kernel.
 */
const RULES_VERSION = 2;

export interface Firewall {
  readonly table: string;
  /** An empty chain whose name tells with one request that the table is there and has the right rules. */
  readonly stamp: string;
}

export function firewallOf(instance: string, network: BridgeNetwork): Firewall {
  const { bridge, subnet, subnet6 = '', internal = false } = network;
  return {
    table: tableName(instance),
    stamp: `rules_${RULES_VERSION}_${hash(`${bridge} ${subnet} ${subnet6}${internal ? ' internal' : ''}`)}`,
  };
}

/**
 * The whole table for `nft -f -`, for all networks of an instance; replaces what is there at once, elements included. A stamp
 * for each network, so that a start asks for its own alone. Pure.
 */
export function rulesetOf(instance: string, networks: readonly BridgeNetwork[]): string {
  const table = tableName(instance);
  const stamps = new Set(networks.map((network) => firewallOf(instance, network).stamp));
  // `table` before `delete table`: so the deletion does not fail where there is none.
  return `table inet ${table}
delete table inet ${table}
table inet ${table} {
${rulesOf(networks)}${[...stamps].map((stamp) => `  chain ${stamp} {\n  }\n`).join('')}}
`;
}

/** Whether the table with just these rules is loaded (5 µs). */
export function isLoaded(host: NetworkHost, firewall: Firewall): boolean {
  try {
    host.netlink('netfilter', getChain(firewall.table, firewall.stamp));
    return true;
  } catch (error) {
    if (ABSENT.includes(errorCode(error) ?? '')) return false;
    throw error;
  }
}

/** Fine where there is none. */
export function removeTable(host: NetworkHost, table: string): void {
  try {
    host.netlink('netfilter', deleteTable(table));
  } catch (error) {
    if (!ABSENT.includes(errorCode(error) ?? '')) throw error;
  }
}

/**
 * The elements that send a published port to its container. None for a loopback address: what comes from there goes through the
 * monitor's proxy, because the kernel does not route 127.0.0.0/8 out of the host. None for IPv6 where the container has no such
 * address: the proxy again.
 */
export function elementsOf(
  bindings: readonly Binding[],
  container: { readonly ipv4: Uint8Array; readonly ipv6?: Uint8Array },
): SetElement[] {
  const elements = new Map<string, SetElement>();
  const add = (element: SetElement): void => {
    elements.set(`${element.set} ${element.key.join(' ')}`, element);
  };
  for (const binding of bindings) {
    const address = parseAddress(binding.hostIp);
    if (address === undefined || isLoopback(address)) continue;
    const target = address.length === 4 ? container.ipv4 : container.ipv6;
    if (target === undefined) continue;
    const family = address.length === 4 ? '4' : '6';
    const any = isUnspecified(address);
    const port = [Uint8Array.of(PROTOCOL_NUMBER[binding.protocol]), service(binding.hostPort)] as const;
    add({
      set: `port${family}${any ? 'any' : ''}`,
      key: any ? concatenation(...port) : concatenation(address, ...port),
      data: concatenation(target, service(binding.containerPort)),
    });
    add({ set: `own${family}`, key: concatenation(target, ...port) });
  }
  return [...elements.values()];
}

/** One rule for each of a network's two families. @param rule of `ip saddr 10.0.0.0/24` or the like */
function perFamily(network: BridgeNetwork, end: 'saddr' | 'daddr', rule: (match: string) => string): string {
  const matches = [`ip ${end} ${network.subnet}`];
  if (network.subnet6 !== undefined) matches.push(`ip6 ${end} ${network.subnet6}`);
  return matches.map((match) => `    ${rule(match)}\n`).join('');
}

function rulesOf(networks: readonly BridgeNetwork[]): string {
  const each = (lines: (bridge: string, network: BridgeNetwork) => string): string =>
    networks.map((network) => lines(`"${network.bridge}"`, network)).join('');
  return `  map port4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
  map port4any { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map port6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }
  map port6any { type inet_proto . inet_service : ipv6_addr . inet_service; }
  set own4 { type ipv4_addr . inet_proto . inet_service; }
  set own6 { type ipv6_addr . inet_proto . inet_service; }
  # A container that calls a port of its own would get packets from its own address, and drop them: it gets the proxy.
  chain published {
    ip saddr . meta l4proto . th dport @own4 return
    ip6 saddr . meta l4proto . th dport @own6 return
    dnat ip to ip daddr . meta l4proto . th dport map @port4
    dnat ip to meta l4proto . th dport map @port4any
    dnat ip6 to ip6 daddr . meta l4proto . th dport map @port6
    dnat ip6 to meta l4proto . th dport map @port6any
  }
  # Nobody but the host and its containers reaches a container's own address, or a port that is published on 127.0.0.1 only,
  # by sending frames to the host's MAC (CVE-2025-54388, CVE-2025-54410).
  chain direct {
    type filter hook prerouting priority raw; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 drop
${each((bridge, network) => perFamily(network, 'daddr', (to) => `iifname != { "lo", ${bridge} } ${to} drop`))}  }
  chain prerouting {
    type nat hook prerouting priority -100; policy accept;
    fib daddr type local jump published
  }
  # From the host itself to one of its addresses; 127.0.0.1 and ::1 are served by the monitor's proxy.
  chain output {
    type nat hook output priority -100; policy accept;
    ip daddr != 127.0.0.0/8 fib daddr type local jump published
    ip6 daddr != ::1 fib daddr type local jump published
  }
  # Only what leaves the host: clients keep their address on the way in, those among the containers too, because containers
  # reach each other through the host (see interfaceOps), never directly. Nor may the host tell them that they could.
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
${each((bridge, network) => perFamily(network, 'saddr', (from) => `${from} oifname != ${bridge} masquerade`))}  }
  chain redirects {
    type filter hook output priority filter; policy accept;
${each((bridge) => `    oifname ${bridge} icmp type redirect drop\n    oifname ${bridge} icmpv6 type nd-redirect drop\n`)}  }
  # An internal network is an island: only the host and its own containers.
  chain forward {
    type filter hook forward priority filter; policy accept;
${each((bridge, { internal }) => (internal === true ? `    iifname ${bridge} oifname != ${bridge} drop\n    iifname != ${bridge} oifname ${bridge} drop\n` : ''))}${each((bridge, { internal }) => (internal === true ? '' : `    iifname != ${bridge} oifname ${bridge} jump inbound\n`))}  }
  chain inbound {
    ct state established,related accept
    ct status dnat accept
    drop
  }
`;
}

/** FNV-1a, 32 bits: tells two texts of ours apart, nothing more. */
function hash(text: string): string {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) {
    value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  }
  return value.toString(16).padStart(8, '0');
}
