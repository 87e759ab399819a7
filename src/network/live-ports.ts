/**
 * Publishes ports of a container that runs, and takes them back. In the order of a start and of an end: a port is listened on
 * before anything leads to it, and nothing leads to it when it is given back. Connections that are there go on.
 */
import type { PortRequest } from '../engine/options.ts';
import { TinyrunError } from '../errors.ts';
import type { PortsRefusal } from '../native/ports-request.ts';
import { addressAt, offsetIn, parseAddress, parsePrefix } from './addresses.ts';
import type { Bridges, ReadyBridge } from './bridges.ts';
import { forgetUdpOps } from './conntrack.ts';
import { elementsOf } from './firewall.ts';
import type { NetworkHost } from './host.ts';
import { leases } from './ipam.ts';
import { addElements, deleteElements, type SetElement } from './nfnetlink.ts';
import {
  type Binding,
  bindPorts,
  listenOps,
  type PortMap,
  portChooser,
  portConflict,
  portMap,
} from './ports.ts';
import { readRecord, removePorts, writeRecord } from './published.ts';

export interface PortChange {
  /** The container's 64 hex digits. */
  readonly id: string;
  /** The networks that it is on, in the order of its interfaces. */
  readonly networks: readonly string[];
  readonly add: readonly PortRequest[];
  /** Whether a binding is to go. */
  readonly removes: (binding: Binding) => boolean;
  /** What `inspect` shows besides. */
  readonly exposed: readonly string[];
  /** Has the monitor serve just these lines (native/ports.c). */
  readonly serve: (lines: string) => Promise<PortsRefusal | undefined>;
  /** Keeps what the firewall is told when the container ends. */
  readonly keepRelease: (messages: Uint8Array) => void;
}

const PROTOCOL = { tcp: 6, udp: 17 } as const;

/** @throws TinyrunError `conflict` (a port is taken), in Docker's words, and then nothing has changed. @returns what is published now */
export async function changePorts(
  host: NetworkHost,
  bridges: Pick<Bridges, 'ready'>,
  change: PortChange,
): Promise<PortMap> {
  const ready = await outward(bridges, change.networks);
  const { pool } = ready;
  const { lease, ipv4, ipv6, target } = holderOf(ready, change.id);
  const before = readRecord(lease);
  const removed = before.filter(change.removes);
  const kept = before.filter((binding) => !removed.includes(binding));
  const added = newBindings(host, change.add, kept);
  const after = [...kept, ...added];
  const elements = (bindings: readonly Binding[]): SetElement[] =>
    elementsOf(bindings, ipv6 === undefined ? { ipv4 } : { ipv4, ipv6 });
  const tell = (make: typeof addElements, bindings: readonly Binding[]): void => {
    const some = elements(bindings);
    if (ready.table !== undefined && some.length > 0) host.netlink('netfilter', make(ready.table, some));
  };
  tell(deleteElements, removed);
  const serve = (bindings: readonly Binding[]): Promise<PortsRefusal | undefined> =>
    change.serve(linesOf(bindings, target));
  try {
    // First what goes: a port may change its target.
    if (removed.length > 0) refuse(await serve(kept), kept, target);
    if (added.length > 0) refuse(await serve(after), after, target);
  } catch (error) {
    await serve(before);
    tell(addElements, removed);
    throw error;
  }
  tell(addElements, added);
  forgetUdp(host, ready, added);
  writeRecord(lease, after);
  if (leases(pool.directory).get(target) !== change.id) {
    // It has ended meanwhile: the next who gets the address shall not find this.
    removePorts(lease);
    throw new TinyrunError('conflict', `container ${change.id} is not running`);
  }
  if (ready.table !== undefined) {
    const all = elements(after);
    change.keepRelease(all.length === 0 ? new Uint8Array(0) : deleteElements(ready.table, all));
  }
  return portMap(after, change.exposed);
}

/** The network that ports come in by: see `planBridge`. */
async function outward(bridges: Pick<Bridges, 'ready'>, names: readonly string[]): Promise<ReadyBridge> {
  for (const name of names) {
    const ready = await bridges.ready(name);
    if (ready.network.internal !== true) return ready;
  }
  throw new TinyrunError('invalid', 'Cannot publish ports: the container is only on internal networks');
}

/** The lease of a container, and the addresses that follow from it. */
function holderOf(
  { network, pool }: ReadyBridge,
  id: string,
): { lease: string; ipv4: Uint8Array; ipv6: Uint8Array | undefined; target: string } {
  const [text] = [...leases(pool.directory)].find(([, holder]) => holder === id) ?? [];
  const ipv4 = parseAddress(text ?? '');
  if (text === undefined || ipv4 === undefined) {
    throw new TinyrunError('conflict', 'Cannot change the ports: it has no address on its network');
  }
  const subnet6 = parsePrefix(network.subnet6 ?? '');
  const ipv6 = subnet6 === undefined ? undefined : addressAt(subnet6, offsetIn(pool.subnet, ipv4));
  return { lease: `${pool.directory}/${text}`, ipv4, ipv6, target: text };
}

function newBindings(
  host: NetworkHost,
  requests: readonly PortRequest[],
  kept: readonly Binding[],
): Binding[] {
  const wanted = bindPorts({
    publish: requests,
    publishAll: false,
    exposed: [],
    ipv6: host.exists('/proc/net/if_inet6'),
    freePort: portChooser(host.readText, host.random),
  });
  return wanted.filter((binding) => !kept.some((one) => isSame(one, binding)));
}

function isSame(a: Binding, b: Binding): boolean {
  return (
    a.protocol === b.protocol &&
    a.hostIp === b.hostIp &&
    a.hostPort === b.hostPort &&
    a.containerPort === b.containerPort
  );
}

function linesOf(bindings: readonly Binding[], target: string): string {
  return bindings
    .map(
      ({ protocol, hostIp, hostPort, containerPort }) =>
        `${PROTOCOL[protocol]} ${hostIp} ${hostPort} ${target} ${containerPort}\n`,
    )
    .join('');
}

function refuse(refusal: PortsRefusal | undefined, bindings: readonly Binding[], target: string): void {
  if (refusal === undefined) return;
  const op = listenOps(bindings, target)[refusal.line];
  const conflict = op === undefined ? undefined : portConflict(op, refusal.errno);
  throw (
    conflict ?? new TinyrunError('unavailable', `Cannot ${op?.what ?? 'change the ports'}: ${refusal.errno}`)
  );
}

/** What the kernel still sends elsewhere would go on to go there as long as its client sends. */
function forgetUdp(host: NetworkHost, { network }: ReadyBridge, added: readonly Binding[]): void {
  const ports = new Set(added.flatMap(({ protocol, hostPort }) => (protocol === 'udp' ? [hostPort] : [])));
  const subnets = [network.subnet, network.subnet6].flatMap((text) => parsePrefix(text ?? '') ?? []);
  for (const op of forgetUdpOps(host, [...ports], subnets)) {
    if (op.op !== 'netlink') continue;
    try {
      host.netlink(op.protocol, op.messages);
    } catch {
      // It has ended by itself meanwhile.
    }
  }
}
