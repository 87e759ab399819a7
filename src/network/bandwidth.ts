/**
 * How much a container may send and receive. What comes in is held back where it leaves the host's end of the veth; what goes out,
 * on an `ifb` that all of the veth's ingress is led through. Both lie on the host: no capability of the container reaches them.
 * Pure.
 */
import type { NetworkRates } from '../engine/options.ts';
import { TinyrunError } from '../errors.ts';
import type { Op } from '../native/plan.ts';
import { parseRate, parseSize } from './bandwidth-values.ts';
import type { BridgeNetwork } from './bridge.ts';
import { encode, type Message } from './netlink.ts';
import { addIfb, deleteLink } from './rtnetlink.ts';
import { deleteIngress, redirectIngress, setTokenBucket, type TokenBucket } from './traffic-control.ts';

/** Bytes a second; absent: as fast as it goes. */
export interface Bandwidth {
  readonly in?: number;
  readonly out?: number;
  /** Bytes; absent: chosen by the rate. */
  readonly burst?: number;
}

/**
 * Interfaces that must be known before they are there get an index from far beyond those that the kernel gives: first all veths,
 * then the `ifb` of each.
 */
const INDEX_BASE = 2 ** 28;

/** Of the host's end of a veth, as one burst of messages has to know it. */
export function hostIndex(random: Uint8Array): number {
  const number = random.subarray(0, 4).reduce((sum, byte) => sum * 256 + byte, 0);
  return INDEX_BASE + (number % INDEX_BASE);
}

export interface Shaped {
  /** Name of the veth's end on the host. */
  readonly hostInterface: string;
  /** Its index. */
  readonly index: number;
  readonly mtu: number;
  readonly bandwidth: Bandwidth;
}

/** Name of the `ifb` of a veth: as long as that, and no veth's. */
export function ifbName(hostInterface: string): string {
  return `ti${hostInterface.slice(2)}`;
}

/** What holds of a container's wish and its network's. 0 of the container: without limit, whatever the network says. */
export function bandwidthOf(
  wish: NetworkRates | undefined,
  network: Pick<BridgeNetwork, 'options'>,
): Bandwidth {
  const both = { ...networkRates(network.options ?? {}), ...wish };
  const given = Object.entries(both).filter(([, value]) => value !== undefined && value > 0);
  return Object.fromEntries(given) as Bandwidth;
}

/** Options of `network create`. `rate` is for both directions. @throws Error for values that cannot be */
export function networkRates(options: Readonly<Record<string, string>>): NetworkRates {
  const { rate, burst } = options;
  const [inward, outward] = [options['in-rate'] ?? rate, options['out-rate'] ?? rate];
  return {
    ...(inward === undefined ? {} : { in: parseRate(inward) }),
    ...(outward === undefined ? {} : { out: parseRate(outward) }),
    ...(burst === undefined ? {} : { burst: parseSize(burst) }),
  };
}

export const RATE_OPTIONS: readonly string[] = ['rate', 'in-rate', 'out-rate', 'burst'];

/** For an interface whose ingress is led nowhere yet; buckets that are there are replaced. */
export function shapeMessages(shaped: Shaped): Message[] {
  const { hostInterface, index, mtu, bandwidth } = shaped;
  const ifb = index + INDEX_BASE;
  const inward =
    bandwidth.in === undefined ? [] : [setTokenBucket(index, bucketOf(bandwidth.in, bandwidth.burst, mtu))];
  if (bandwidth.out === undefined) return inward;
  return [
    ...inward,
    addIfb(ifbName(hostInterface), ifb, mtu),
    setTokenBucket(ifb, bucketOf(bandwidth.out, bandwidth.burst, mtu)),
    ...redirectIngress(index, ifb),
  ];
}

/**
 * An `ifb` stays when its veth is gone. The redirection goes first: sockets that still have something to say keep the veth, and what is
 * led to an interface that is gone is lost.
 */
export function unshapeMessages({ hostInterface, index, bandwidth }: Shaped): Message[] {
  return bandwidth.out === undefined ? [] : [deleteIngress(index), deleteLink(ifbName(hostInterface))];
}

const ETHERNET_HEADER = 18;
const BURST_MS = 10;
const BURST = { min: 16 * 1024, max: 16 * 1024 * 1024 } as const;
const QUEUE_MS = 50;
/** A UDP datagram of the largest size has to fit in whole. */
const QUEUE_MIN = 80 * 1024;
const LIMIT_MAX = 2 ** 31;

/** A burst smaller than a frame would let none of them through, ever. */
function bucketOf(rate: number, wanted: number | undefined, mtu: number): TokenBucket {
  const usual = Math.min(BURST.max, Math.max(BURST.min, Math.ceil((rate * BURST_MS) / 1000)));
  const burst = Math.max(wanted ?? usual, mtu + ETHERNET_HEADER);
  const queue = Math.max(QUEUE_MIN, Math.ceil((rate * QUEUE_MS) / 1000));
  return { rate: Math.round(rate), burst, limit: Math.min(LIMIT_MAX, burst + queue) };
}

/** As errors say it. */
export const LIMIT_BANDWIDTH = 'limit the bandwidth of the container';

/**
 * For the monitor: `connect` once the veths are there, `release` at the container's end. Files that `changeRates` puts there count
 * instead, also for the starts that are the monitor's own.
 */
export function bandwidthOps(
  all: readonly Shaped[],
  files: { readonly set: string; readonly release: string } | undefined,
): { connect: Op[]; release: Op[] } {
  const set = encode(all.flatMap(shapeMessages));
  const release = encode(all.flatMap(unshapeMessages));
  const netlink = (messages: Uint8Array, instead: string | undefined): Op[] =>
    messages.length === 0 && instead === undefined
      ? []
      : [
          {
            op: 'netlink',
            protocol: 'route',
            messages,
            ...(instead === undefined ? {} : { instead }),
            what: LIMIT_BANDWIDTH,
          },
        ];
  return {
    connect: netlink(set, files?.set),
    release: netlink(release, files?.release).map((op) => ({ ...op, optional: true })),
  };
}

/** Whether and how a failure of `bandwidthOps` or `changeRates` is the kernel's lack. */
export function bandwidthRefusal(what: string, errno: string): TinyrunError | undefined {
  if (what !== LIMIT_BANDWIDTH || !['ENOENT', 'EOPNOTSUPP', 'ENOTSUP'].includes(errno)) return undefined;
  return new TinyrunError(
    'unsupported',
    `Cannot ${LIMIT_BANDWIDTH}: the kernel has no traffic control for it (${errno})`,
    {
      hint: 'It needs sch_tbf; for --net-out-rate also ifb, sch_ingress, cls_u32 and act_mirred: try modprobe, or leave the rate out',
    },
  );
}
