/** How a container is joined to a bridge: netlink ops for the host's side and for the container's. Pure. */
import type { Op } from '../native/plan.ts';
import { subnetOf } from './addresses.ts';
import type { BridgeNetwork } from './bridge.ts';
import type { NetworkHost } from './host.ts';
import { encode, type Message } from './netlink.ts';
import { addAddress, addDefaultRoute, addRoute, addVeth, linkUp, vethPidOffset } from './rtnetlink.ts';

/** In a new network namespace `lo` is always the first interface. */
const LOOPBACK_INDEX = 1;

/** Of the tunnel modules: each makes such an interface in every network namespace, unless it is told not to. */
const FALLBACK_TUNNELS = 'tunl0 gre0 gretap0 erspan0 ip_vti0 ip6_vti0 sit0 ip6tnl0 ip6gre0'.split(' ');

export interface Attachment {
  /** Name of the veth's end on the host. */
  readonly hostInterface: string;
  /** Its index: see `hostIndex`. */
  readonly hostIndex: number;
  readonly mac: Uint8Array;
  readonly ipv4: Interface;
  readonly ipv6?: Interface;
  /** The default route leaves by it; otherwise only its own subnet is reached by it. */
  readonly isDefault: boolean;
}

export interface Interface {
  readonly address: Uint8Array;
  readonly prefixLength: number;
  readonly gateway: Uint8Array;
}

/**
 * Unique per start: a veth is never deleted explicitly (RTM_DELLINK blocks 20-30 ms), it goes with its namespace some 50 ms after
 * the container, and must not be in the way of the next start. The ids' digits tell whose it is, and on which network.
 */
export function hostInterfaceName(id: string, networkId: string, random: Uint8Array): string {
  const suffix = Array.from(random.subarray(0, 2), (byte) => byte.toString(16).padStart(2, '0')).join('');
  return `${hostInterfacePrefix(id, networkId)}${suffix}`;
}

export function hostInterfacePrefix(id: string, networkId: string): string {
  return `tr${id.slice(0, 7)}${networkId.slice(0, 2)}`;
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

/**
 * Monitor's side, once the child is there: the pair, with one end in the child's namespace.
 * @param name of the container's end, `eth0`
 */
export function connectOps(
  attachment: Attachment,
  network: BridgeNetwork,
  { bridgeIndex, name }: { readonly bridgeIndex: number; readonly name: string },
): Op[] {
  const messages = encode([
    addVeth({
      hostName: attachment.hostInterface,
      hostIndex: attachment.hostIndex,
      master: bridgeIndex,
      peerName: name,
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
 * @param index of `eth0`: see `firstIndex`; the others follow
 */
export function interfaceOps(attachments: readonly Attachment[], index: number): Op[] {
  const names = attachments.map((_, number) => `eth${number}`);
  return [
    ...attachments.map(({ ipv6 }, number) => ipv6SwitchOp(`eth${number}`, ipv6 !== undefined)),
    {
      op: 'netlink',
      protocol: 'route',
      messages: encode([
        linkUp(LOOPBACK_INDEX),
        ...attachments.flatMap((attachment, number) => interfaceMessages(attachment, index + number)),
      ]),
      what: `set up the interfaces ${['lo', ...names].map((name) => `"${name}"`).join(' and ')}`,
    },
  ];
}

function ipv6SwitchOp(name: string, hasIpv6: boolean): Op {
  return hasIpv6
    ? {
        op: 'sysctl',
        key: `net/ipv6/conf/${name}/accept_ra`,
        value: '0',
        optional: true,
        what: `refuse router advertisements on "${name}"`,
      }
    : {
        op: 'sysctl',
        key: `net/ipv6/conf/${name}/disable_ipv6`,
        value: '1',
        optional: true,
        what: `switch IPv6 off on "${name}"`,
      };
}

function interfaceMessages({ ipv4, ipv6, isDefault }: Attachment, index: number): Message[] {
  const ends = ipv6 === undefined ? [ipv4] : [ipv4, ipv6];
  return [
    ...ends.map(({ address, prefixLength }) => addAddress(index, address, prefixLength, false)),
    linkUp(index),
    ...ends.map(({ address, prefixLength, gateway }) =>
      isDefault ? addDefaultRoute(index, gateway) : addRoute(index, subnetOf(address, prefixLength), gateway),
    ),
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
