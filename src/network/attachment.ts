/** How a container is joined to a bridge: netlink ops for the host's side and for the container's. Pure. */
import type { Op } from '../native/plan.ts';
import type { BridgeNetwork } from './bridge.ts';
import type { NetworkHost } from './host.ts';
import { encode, type Message } from './netlink.ts';
import { addAddress, addDefaultRoute, addVeth, linkUp, vethPidOffset } from './rtnetlink.ts';

/** In a new network namespace `lo` is always the first interface. */
const LOOPBACK_INDEX = 1;

/** Of the tunnel modules: each makes such an interface in every network namespace, unless it is told not to. */
const FALLBACK_TUNNELS = 'tunl0 gre0 gretap0 erspan0 ip_vti0 ip6_vti0 sit0 ip6tnl0 ip6gre0'.split(' ');

export interface Attachment {
  /** Name of the veth's end on the host. */
  readonly hostInterface: string;
  readonly mac: Uint8Array;
  readonly ipv4: Interface;
  readonly ipv6?: Interface;
}

export interface Interface {
  readonly address: Uint8Array;
  readonly prefixLength: number;
  readonly gateway: Uint8Array;
}

/**
 * Unique per start: a veth is never deleted explicitly (RTM_DELLINK blocks 20-30 ms), it goes with its namespace some 50 ms after
 * the container, and must not be in the way of the next start. The id's digits tell whose it is.
 */
export function hostInterfaceName(id: string, random: Uint8Array): string {
  const suffix = Array.from(random.subarray(0, 2), (byte) => byte.toString(16).padStart(2, '0')).join('');
  return `${hostInterfacePrefix(id)}${suffix}`;
}

export function hostInterfacePrefix(id: string): string {
  return `tr${id.slice(0, 9)}`;
}

/**
 * The index that the first interface gets that is put into a new network namespace: it comes behind `lo` and the tunnels that are
 * born with the namespace. (Addresses and routes can be set only by index.)
 * @see https://docs.kernel.org/admin-guide/sysctl/net.html, fb_tunnels_only_for_init_net
 */
export function firstIndex(host: Pick<NetworkHost, 'exists' | 'readText'>): number {
  const onlyOnHost = (host.readText('/proc/sys/net/core/fb_tunnels_only_for_init_net') ?? '0').trim() !== '0';
  const tunnels = FALLBACK_TUNNELS.filter((name) => host.exists(`/proc/sys/net/ipv4/conf/${name}`));
  return LOOPBACK_INDEX + 1 + (onlyOnHost ? 0 : tunnels.length);
}

/** Monitor's side, once the child is there: the pair, with one end in the child's namespace. */
export function connectOps(attachment: Attachment, network: BridgeNetwork, bridgeIndex: number): Op[] {
  const messages = encode([
    addVeth({
      hostName: attachment.hostInterface,
      master: bridgeIndex,
      peerName: 'eth0',
      peerMac: attachment.mac,
      mtu: network.mtu,
    }),
  ]);
  return [
    {
      op: 'netlink',
      protocol: 'route',
      messages,
      pidOffset: vethPidOffset(messages),
      what: `connect the container to the network "${network.name}"`,
    },
  ];
}

/**
 * Child's side, after `await connected`. There is no route to the subnet, only to the gateway: what containers say to each other
 * passes the host's IP layer, where connections to published ports are translated. On the bridge alone, the answer of one
 * container to another would come from an address that was never called, unless the client's address were replaced.
 * @param index of `eth0`: see `firstIndex`
 */
export function interfaceOps(attachment: Attachment, index: number): Op[] {
  const { ipv4, ipv6 } = attachment;
  const messages: Message[] = [
    linkUp(LOOPBACK_INDEX),
    addAddress(index, ipv4.address, ipv4.prefixLength, false),
    ...(ipv6 === undefined ? [] : [addAddress(index, ipv6.address, ipv6.prefixLength, false)]),
    linkUp(index),
    addDefaultRoute(index, ipv4.gateway),
    ...(ipv6 === undefined ? [] : [addDefaultRoute(index, ipv6.gateway)]),
  ];
  return [
    ipv6 === undefined
      ? {
          op: 'sysctl',
          key: 'net/ipv6/conf/eth0/disable_ipv6',
          value: '1',
          optional: true,
          what: 'switch IPv6 off on "eth0"',
        }
      : {
          op: 'sysctl',
          key: 'net/ipv6/conf/eth0/accept_ra',
          value: '0',
          optional: true,
          what: 'refuse router advertisements on "eth0"',
        },
    {
      op: 'netlink',
      protocol: 'route',
      messages: encode(messages),
      what: 'set up the interfaces "lo" and "eth0"',
    },
  ];
}

/** A namespace that has nothing but `lo`. */
export function loopbackOps(): Op[] {
  return [
    {
      op: 'netlink',
      protocol: 'route',
      messages: encode([linkUp(LOOPBACK_INDEX)]),
      what: 'set up the interface "lo"',
    },
  ];
}
