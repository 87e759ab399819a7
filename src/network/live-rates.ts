/** Changes the bandwidth of a container that runs. */
import type { NetworkRates } from '../engine/options.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import {
  type Bandwidth,
  bandwidthOf,
  bandwidthRefusal,
  ifbName,
  LIMIT_BANDWIDTH,
  type Shaped,
  shapeMessages,
  unshapeMessages,
} from './bandwidth.ts';
import { type BridgeNetwork, findLink } from './bridge.ts';
import type { NetworkHost } from './host.ts';
import { encode, type Message } from './netlink.ts';
import type { EndpointSettings } from './plan.ts';
import { deleteLink } from './rtnetlink.ts';
import { deleteIngress, deleteRootQdisc } from './traffic-control.ts';

export interface RateChange {
  /** The interfaces of the container, as its start has written them down. */
  readonly endpoints: readonly EndpointSettings[];
  /** What is wanted from now on. */
  readonly rates: NetworkRates;
  /** Keeps what the monitor sends when it starts the container again, and when it ends. Called before anything is changed. */
  readonly keep: (set: Uint8Array, release: Uint8Array) => void;
  /** Whether the container is still there, asked when all is changed. */
  readonly isUp: () => boolean;
}

/** @returns the bandwidth of each endpoint @throws TinyrunError `unsupported` where the kernel lacks what it needs */
export function changeRates(
  host: NetworkHost,
  networks: { find(text: string): BridgeNetwork },
  { endpoints, rates, keep, isUp }: RateChange,
): Bandwidth[] {
  const all = endpoints.map((endpoint) => shapedOf(host, networks, endpoint, rates));
  keep(encode(all.flatMap(shapeMessages)), encode(all.flatMap(unshapeMessages)));
  for (const one of all) apply(host, one);
  // Its monitor may have taken back what was there, before there was this.
  if (!isUp()) for (const one of all) removeOutward(host, one);
  return all.map(({ bandwidth }) => bandwidth);
}

function shapedOf(
  host: NetworkHost,
  networks: { find(text: string): BridgeNetwork },
  { hostInterface = '', networkId = '' }: EndpointSettings,
  rates: NetworkRates,
): Shaped {
  const network = networks.find(networkId);
  const index = findLink(host, hostInterface)?.index;
  if (index === undefined) {
    throw new TinyrunError('conflict', `Cannot ${LIMIT_BANDWIDTH}: its interface "${hostInterface}" is gone`);
  }
  return { hostInterface, index, mtu: network.mtu, bandwidth: bandwidthOf(rates, network) };
}

function apply(host: NetworkHost, shaped: Shaped): void {
  const { index, bandwidth } = shaped;
  if (bandwidth.in === undefined) unlessMissing(host, deleteRootQdisc(index));
  if (bandwidth.out === undefined) removeOutward(host, shaped);
  else unlessMissing(host, deleteIngress(index));
  const messages = encode(shapeMessages(shaped));
  if (messages.length === 0) return;
  try {
    host.netlink('route', messages);
  } catch (error) {
    removeOutward(host, shaped);
    throw bandwidthRefusal(LIMIT_BANDWIDTH, errorCode(error) ?? '') ?? error;
  }
}

/** In this order: what is led to an interface that is gone is lost. */
function removeOutward(host: NetworkHost, { index, hostInterface }: Shaped): void {
  unlessMissing(host, deleteIngress(index));
  unlessMissing(host, deleteLink(ifbName(hostInterface)));
}

function unlessMissing(host: NetworkHost, message: Message): void {
  try {
    host.netlink('route', encode([message]));
  } catch (error) {
    // EINVAL: an interface without a queue of its own, or without the qdisc.
    if (!['ENOENT', 'EINVAL', 'ENODEV'].includes(errorCode(error) ?? '')) throw error;
  }
}
