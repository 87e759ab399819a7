/**
 * Connections that the kernel still translates to a container that is gone. For UDP it goes on as long as the client sends, so a
 * client that keeps its port (a DNS forwarder, syslog) would never reach the next container that publishes the port.
 * @see https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/tree/include/uapi/linux/netfilter/nfnetlink_conntrack.h
 */
import { SyscallError } from '../errors.ts';
import type { Op } from '../native/plan.ts';
import { contains, type Prefix } from './addresses.ts';
import type { NetworkHost } from './host.ts';
import {
  ACK,
  type Attribute,
  attributesOf,
  DUMP,
  decode,
  encode,
  type Message,
  REQUEST,
  u32,
} from './netlink.ts';
import { service } from './nfnetlink.ts';

const SUBSYSTEM_CTNETLINK = 1;
const CT_MSG = { new: 0, get: 1, delete: 2 } as const;
const CTA = { original: 1, reply: 2, status: 3, filter: 25 } as const;
const TUPLE = { ip: 1, protocol: 2 } as const;
const IP = { source4: 1, source6: 3 } as const;
const PROTOCOL = { number: 1, destinationPort: 3 } as const;
const FILTER_ORIGINAL_FLAGS = 1;
/** Kernel's net/netfilter/nf_internals.h: which fields of the tuple count. */
const FILTER_FLAG = { protocol: 1 << 3, destinationPort: 1 << 5 } as const;
const IPS_DST_NAT = 1 << 5;
const IPPROTO_UDP = 17;
const AF_INET = 2;
const AF_INET6 = 10;
const NFGENMSG = 4;

/** With more ports than this, all UDP connections are looked through at once. */
const PORTS_ASKED_ONE_BY_ONE = 8;

/**
 * Ops that make the kernel forget connections to these UDP ports of the host that are translated into one of the subnets. For
 * `prepare`, behind the new translation.
 */
export function forgetUdpOps(
  host: Pick<NetworkHost, 'netlink'>,
  ports: readonly number[],
  subnets: readonly Prefix[],
): Op[] {
  if (ports.length === 0) return [];
  const asked = ports.length > PORTS_ASKED_ONE_BY_ONE ? [undefined] : ports;
  return subnets.flatMap((subnet) => {
    const family = subnet.bytes.length === 4 ? AF_INET : AF_INET6;
    return asked.flatMap((port) =>
      staleTuples(dump(host, family, port), new Set(ports), subnet).map((tuple) => forgetOp(family, tuple)),
    );
  });
}

/** Pure: the original tuples, as they came, of connections to one of the ports that are translated into the subnet. */
export function staleTuples(replies: Uint8Array, ports: ReadonlySet<number>, subnet: Prefix): Uint8Array[] {
  const none = new Uint8Array();
  return decode(replies).flatMap(({ type, payload }) => {
    if (type !== ((SUBSYSTEM_CTNETLINK << 8) | CT_MSG.new)) return [];
    const connection = attributesOf(payload, NFGENMSG);
    const original = connection.get(CTA.original) ?? none;
    // Flags are in network order here, as everything in this protocol.
    const status = connection.get(CTA.status)?.[3] ?? 0;
    const protocol = attributesOf(attributesOf(original, 0).get(TUPLE.protocol) ?? none, 0);
    const [high = 0, low = 0] = protocol.get(PROTOCOL.destinationPort) ?? none;
    const reply = attributesOf(attributesOf(connection.get(CTA.reply) ?? none, 0).get(TUPLE.ip) ?? none, 0);
    const target = reply.get(IP.source4) ?? reply.get(IP.source6) ?? none;
    const stale =
      (status & IPS_DST_NAT) !== 0 &&
      protocol.get(PROTOCOL.number)?.[0] === IPPROTO_UDP &&
      ports.has(high * 256 + low) &&
      contains(subnet, target);
    return stale ? [original] : [];
  });
}

function dump(host: Pick<NetworkHost, 'netlink'>, family: number, port: number | undefined): Uint8Array {
  const fields: Attribute[] = [[PROTOCOL.number, Uint8Array.of(IPPROTO_UDP)]];
  if (port !== undefined) fields.push([PROTOCOL.destinationPort, service(port)]);
  const flags = FILTER_FLAG.protocol | (port === undefined ? 0 : FILTER_FLAG.destinationPort);
  const request = message(CT_MSG.get, DUMP, family, [
    [CTA.original, [[TUPLE.protocol, fields]]],
    [CTA.filter, [[FILTER_ORIGINAL_FLAGS, u32(flags)]]],
  ]);
  try {
    return host.netlink('netfilter', encode([request]));
  } catch (error) {
    // No connection tracking, or too many connections before Linux 5.9, which does not filter: then they have to time out.
    if (error instanceof SyscallError) return new Uint8Array();
    throw error;
  }
}

function forgetOp(family: number, tuple: Uint8Array): Op {
  const nested = [...attributesOf(tuple, 0)].map(([type, value]): Attribute => [type, nestedOnce(value)]);
  return {
    op: 'netlink',
    protocol: 'netfilter',
    messages: encode([message(CT_MSG.delete, ACK, family, [[CTA.original, nested]])]),
    // It may have timed out by then.
    optional: true,
    what: 'forget a connection to a container that is gone',
  };
}

function nestedOnce(value: Uint8Array): Attribute[] {
  return [...attributesOf(value, 0)];
}

function message(type: number, flags: number, family: number, attributes: readonly Attribute[]): Message {
  return {
    type: (SUBSYSTEM_CTNETLINK << 8) | type,
    flags: REQUEST | flags,
    body: Uint8Array.of(family, 0, 0, 0),
    attributes,
  };
}
