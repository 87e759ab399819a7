/** How a container is joined to a bridge: netlink ops for the host's side and for the container's. Pure. */
import type { Op } from '../native/plan.ts';
import type { BridgeNetwork } from './bridge.ts';
import { encode, type Message } from './netlink.ts';
import { addAddress, addDefaultRoute, addVeth, linkUp, vethPidOffset } from './rtnetlink.ts';

/** In a new network namespace `lo` is always the first interface, and what is put in first the second. */
const LOOPBACK_INDEX = 1;
const ETH0_INDEX = 2;

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
 */
export function interfaceOps(attachment: Attachment): Op[] {
  const { ipv4, ipv6 } = attachment;
  const messages: Message[] = [
    linkUp(LOOPBACK_INDEX),
    addAddress(ETH0_INDEX, ipv4.address, ipv4.prefixLength, false),
    ...(ipv6 === undefined ? [] : [addAddress(ETH0_INDEX, ipv6.address, ipv6.prefixLength, false)]),
    linkUp(ETH0_INDEX),
    addDefaultRoute(ETH0_INDEX, ipv4.gateway),
    ...(ipv6 === undefined ? [] : [addDefaultRoute(ETH0_INDEX, ipv6.gateway)]),
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
