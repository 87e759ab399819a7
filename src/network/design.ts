/** How a network is designed: its addresses, chosen so that they clash with no route of the host. Pure. */
import { TinyrunError } from '../errors.ts';
import {
  addressAt,
  contains,
  formatAddress,
  formatMac,
  formatPrefix,
  overlaps,
  type Prefix,
  parseAddress,
  parsePrefix,
  sameBytes,
} from './addresses.ts';
import type { BridgeNetwork } from './bridge.ts';

/**
 * 4093 containers each. None of the networks that Docker (172.17-172.28, 192.168), podman (10.88, 10.89), LXD, Kubernetes
 * (10.42-10.44, 10.96, 10.244) or libvirt (192.168.122) take first; the third octets keep off what offices and clouds start at 0.
 */
const DEFAULT_SUBNETS: readonly string[] = [
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
export const MTU = { max: 1500, min: 1280 } as const;

/**
 * For the networks that users make: 253 containers each, so that hundreds of networks fit beside the host's routes. The ends
 * of the ranges above first: where those are taken from is known.
 */
const USER_RANGES: readonly string[] = ['10.213', '10.147', '172.29', '172.30', '172.31'];

function* userSubnets(): Generator<Prefix> {
  for (const range of USER_RANGES) {
    for (let octet = 255; octet >= 0; octet -= 1) {
      const prefix = parsePrefix(`${range}.${octet}.0/24`);
      if (prefix !== undefined) yield prefix;
    }
  }
}

export interface DesignInput {
  readonly name: string;
  readonly bridge: string;
  /** Every route of the host, addresses of its own included (they are routes of the table `local`), and all networks. */
  readonly routes: readonly Prefix[];
  /** Give the network IPv6. */
  readonly ipv6: boolean;
  /** Of the interface that the default route leaves by. */
  readonly uplinkMtu: number | undefined;
  readonly random: (length: number) => Uint8Array;
}

/** The default network. @throws TinyrunError where all candidates are taken */
export function designNetwork(input: DesignInput): BridgeNetwork {
  const subnet = DEFAULT_SUBNETS.flatMap((text) => parsePrefix(text) ?? []).find(
    (candidate) => !clashes(candidate, input.routes),
  );
  if (subnet === undefined) {
    throw new TinyrunError(
      'unavailable',
      `Cannot make the network "${input.name}": every address range for it clashes with a route of the host`,
      { hint: `Free one of ${DEFAULT_SUBNETS.slice(0, 3).join(', ')}, … or use --network host` },
    );
  }
  return networkOf(input, { subnet, gateway: addressAt(subnet, 1) });
}

/** What `network create` asks for; texts as they were given. */
export interface NetworkWishes {
  readonly subnet?: string;
  readonly gateway?: string;
  readonly range?: string;
  readonly subnet6?: string;
  readonly gateway6?: string;
  readonly mtu?: number;
  readonly internal?: boolean;
  readonly labels?: Readonly<Record<string, string>>;
  readonly options?: Readonly<Record<string, string>>;
  /** RFC 3339, UTC. */
  readonly created: string;
}

/**
 * A network that a user makes.
 * @param taken subnets of the other networks: what is asked for may clash with a route of the host, but not with those
 * @throws TinyrunError `invalid` in Docker's words; `unavailable` where all candidates are taken
 */
export function designUserNetwork(
  input: DesignInput,
  wishes: NetworkWishes,
  taken: readonly Prefix[],
): BridgeNetwork {
  const { internal, range, labels, options, created, mtu } = wishes;
  const subnet = wishes.subnet === undefined ? freeSubnet(input) : wantedSubnet(wishes.subnet, 4, taken);
  const gateway = wishes.gateway === undefined ? addressAt(subnet, 1) : wantedGateway(wishes.gateway, subnet);
  const network = networkOf(
    { ...input, ipv6: input.ipv6 && wishes.subnet6 === undefined },
    { subnet, gateway },
  );
  const subnet6 = wishes.subnet6 === undefined ? undefined : wantedSubnet(wishes.subnet6, 16, taken);
  return {
    ...network,
    ...(subnet6 === undefined
      ? {}
      : {
          subnet6: formatPrefix(subnet6),
          gateway6: formatAddress(
            wishes.gateway6 === undefined ? addressAt(subnet6, 1) : wantedGateway(wishes.gateway6, subnet6),
          ),
        }),
    ...(mtu === undefined ? {} : { mtu }),
    ...(internal === true ? { internal } : {}),
    ...(range === undefined ? {} : { range: formatPrefix(wantedRange(range, subnet)) }),
    ...(labels === undefined ? {} : { labels }),
    ...(options === undefined ? {} : { options }),
    created,
  };
}

function freeSubnet(input: DesignInput): Prefix {
  for (const candidate of userSubnets()) if (!clashes(candidate, input.routes)) return candidate;
  throw new TinyrunError(
    'unavailable',
    'could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network',
    { hint: 'Give one with --subnet, or remove networks that nobody uses: tinyrun network prune' },
  );
}

function wantedSubnet(text: string, length: 4 | 16, taken: readonly Prefix[]): Prefix {
  const prefix = parsePrefix(text);
  // Two addresses are not for containers, one is the gateway's.
  const longest = length === 4 ? 30 : 126;
  if (
    prefix === undefined ||
    prefix.bytes.length !== length ||
    prefix.length > longest ||
    prefix.length < 8
  ) {
    throw new TinyrunError(
      'invalid',
      `invalid subnet ${quoted(text)}: expected a prefix such as 10.5.0.0/24`,
    );
  }
  if (taken.some((other) => other.bytes.length === length && overlaps(other, prefix))) {
    throw new TinyrunError(
      'invalid',
      'invalid pool request: Pool overlaps with other one on this address space',
      {
        hint: 'See the subnets of the others: tinyrun network inspect $(tinyrun network ls -q)',
      },
    );
  }
  return prefix;
}

function wantedGateway(text: string, subnet: Prefix): Uint8Array {
  const address = parseAddress(text);
  const usable =
    address !== undefined &&
    address.length === subnet.bytes.length &&
    contains(subnet, address) &&
    !sameBytes(address, addressAt(subnet, 0));
  if (usable) return address;
  throw new TinyrunError(
    'invalid',
    `invalid gateway ${quoted(text)}: it is no address of ${formatPrefix(subnet)}`,
  );
}

function wantedRange(text: string, subnet: Prefix): Prefix {
  const range = parsePrefix(text);
  if (range?.bytes.length === 4 && range.length >= subnet.length && overlaps(range, subnet)) return range;
  throw new TinyrunError(
    'invalid',
    `invalid ip-range ${quoted(text)}: it is no part of ${formatPrefix(subnet)}`,
  );
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}

function networkOf(
  input: DesignInput,
  { subnet, gateway }: { readonly subnet: Prefix; readonly gateway: Uint8Array },
): BridgeNetwork {
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

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
