/** The networks of a store: what a container's start needs of them, as values; and the bridge and firewall that have to exist. */

import type { Paths } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import type { Op } from '../native/plan.ts';
import { loopbackOps } from './attachment.ts';
import type { Bandwidth } from './bandwidth.ts';
import { planBridge } from './bridge-mode.ts';
import { type Bridges, DEFAULT_NETWORK, openBridges } from './bridges.ts';
import { etcFiles } from './etc.ts';
import type { NetworkHost } from './host.ts';
import type { PortChange } from './live-ports.ts';
import type { RateChange } from './live-rates.ts';
import type { NetworkInput, NetworkPlan } from './plan.ts';
import { type PortMap, portMap } from './ports.ts';

export type { NetworkInput, NetworkPlan, NetworkSettings } from './plan.ts';

export interface Networks extends Omit<Bridges, 'ready'> {
  /**
   * Plans one start: leases addresses, chooses ports, writes texts. No child process and under a millisecond, unless a
   * bridge or the firewall is missing and has to be made.
   * @throws TinyrunError in Docker's words where scripts know them
   */
  plan(input: NetworkInput): Promise<NetworkPlan>;
  /** Publishes ports of a container that runs, and takes them back: see `changePorts`. */
  changePorts(change: PortChange): Promise<PortMap>;
  /** Changes the bandwidth of a container that runs. */
  changeRates(change: RateChange): Promise<Bandwidth[]>;
}

/** Opens the networks of a store. Makes no call until it is used. */
export function openNetworks(paths: Paths, host: NetworkHost): Networks {
  const bridges = openBridges(paths, host);
  return {
    ...bridges,
    plan: async (input) => planMode(input, host, bridges),
    changePorts: async (change) => (await import('./live-ports.ts')).changePorts(host, bridges, change),
    changeRates: async (change) => (await import('./live-rates.ts')).changeRates(host, bridges, change),
  };
}

/** Whether the op failed because bridge or firewall went away after the plan was made: `repair`, plan anew, try again. */
export function needsRepair(op: Op, errno: string): boolean {
  if (op.op !== 'netlink') return false;
  // EBUSY: an element of a dead container is in the way. ENODEV, EINVAL: the bridge's index means nothing any more.
  const expected =
    op.protocol === 'netfilter' ? ['ENOENT', 'EBUSY', 'EEXIST'] : ['ENODEV', 'EINVAL', 'ENXIO'];
  return expected.includes(errno);
}

async function planMode(
  input: NetworkInput,
  host: NetworkHost,
  bridges: Pick<Bridges, 'ready'>,
): Promise<NetworkPlan> {
  const { mode } = input.request;
  if (mode.type === 'none') return planNone(input, host);
  if (mode.type === 'host') return planHost(input, host);
  if (mode.type === 'container') return planContainer(input, mode.container);
  const request =
    mode.network === 'default'
      ? { ...input.request, mode: { ...mode, network: DEFAULT_NETWORK } }
      : input.request;
  return planBridge({ ...input, request }, host, bridges);
}

const NOTHING = {
  prepare: [],
  child: [],
  connect: [],
  release: [],
  warnings: [],
  randomPorts: false,
  undo: () => undefined,
} as const;

function planNone(input: NetworkInput, host: NetworkHost): NetworkPlan {
  return {
    ...NOTHING,
    child: loopbackOps(),
    namespace: { type: 'new' },
    etc: etcFiles(input, host, { addresses: [], ipv6: false }),
    settings: { mode: 'none', ports: {} },
  };
}

function planHost(input: NetworkInput, host: NetworkHost): NetworkPlan {
  const { publish, publishAll } = input.request;
  const discarded = publish.length > 0 || publishAll;
  return {
    ...NOTHING,
    namespace: { type: 'host' },
    etc: etcFiles(input, host, { addresses: [], ipv6: true, hostGateway: '127.0.0.1', sameNetwork: true }),
    settings: { mode: 'host', ports: {} },
    warnings: discarded ? ['Published ports are discarded when using host network mode'] : [],
  };
}

function planContainer(input: NetworkInput, container: string): NetworkPlan {
  const { request } = input;
  const conflicts: readonly [boolean, string][] = [
    [request.dns.length > 0, 'dns and the network mode'],
    [request.extraHosts.length > 0, 'custom host-to-IP mapping and the network mode'],
    [request.macAddress !== undefined, 'mac-address and the network mode'],
    [request.publish.length > 0 || request.publishAll, 'port publishing and the container type network mode'],
    [request.expose.length > 0, 'port exposing and the container type network mode'],
  ];
  const conflict = conflicts.find(([given]) => given);
  if (conflict !== undefined) throw new TinyrunError('invalid', `conflicting options: ${conflict[1]}`);
  if (input.containerNamespace === undefined) {
    throw new TinyrunError('unsupported', `Cannot join the network of the container "${container}" here`);
  }
  const { pid, id } = input.containerNamespace(container);
  return {
    ...NOTHING,
    namespace: { type: 'path', path: `/proc/${pid}/ns/net` },
    etc: {},
    etcOf: id,
    settings: { mode: 'container', ports: portMap([], input.exposed) },
  };
}
