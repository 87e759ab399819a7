/** Plans a container that gets an interface on one or more bridges. */
import type { NetworkRequest } from '../engine/options.ts';
import { TinyrunError } from '../errors.ts';
import type { Op } from '../native/plan.ts';
import {
  addressAt,
  formatAddress,
  formatMac,
  macOf,
  offsetIn,
  parseAddress,
  parsePrefix,
} from './addresses.ts';
import { type Attachment, connectOps, firstIndex, hostInterfaceName, interfaceOps } from './attachment.ts';
import { type Bandwidth, bandwidthOf, bandwidthOps, hostIndex } from './bandwidth.ts';
import type { BridgeNetwork } from './bridge.ts';
import type { Bridges, ReadyBridge } from './bridges.ts';
import { forgetUdpOps } from './conntrack.ts';
import { etcFiles } from './etc.ts';
import { elementsOf } from './firewall.ts';
import type { NetworkHost } from './host.ts';
import { acquire, type Lease, namesPath, recordPath, release } from './ipam.ts';
import { addElements, deleteElements } from './nfnetlink.ts';
import type { EndpointSettings, NetworkInput, NetworkPlan } from './plan.ts';
import { type Binding, bindPorts, listenOps, portChooser, portMap } from './ports.ts';
import { writeNames, writeRecord } from './published.ts';
import { wantedEndpoints } from './wanted-endpoints.ts';

/** A network that the container gets an interface on. */
interface Endpoint {
  readonly ready: ReadyBridge;
  readonly lease: Lease;
  readonly attachment: Attachment;
  readonly bandwidth: Bandwidth;
}

/**
 * Order at the end of the container: the elements go out of the firewall, then the leases and their records. The monitor closes the
 * listening sockets after that, so that whoever gets the port next finds the firewall's maps without it.
 */
export async function planBridge(
  input: NetworkInput,
  host: NetworkHost,
  bridges: Pick<Bridges, 'ready'>,
): Promise<NetworkPlan> {
  const { request } = input;
  const wanted = wantedEndpoints(request);
  const ready: ReadyBridge[] = [];
  for (const { network } of wanted) ready.push(await bridges.ready(network));
  // Ports come in by the first network, and so does what goes elsewhere: an island cannot be it.
  const outward = ready.findIndex(({ network }) => network.internal !== true);
  const bindings = bindPorts({
    publish: request.publish,
    publishAll: request.publishAll,
    exposed: [...input.exposed, ...request.expose],
    ipv6: host.exists('/proc/net/if_inet6'),
    freePort: portChooser(host.readText, host.random),
  });
  if (bindings.length > 0 && outward < 0) {
    throw new TinyrunError('invalid', 'Cannot publish ports: the container is only on internal networks', {
      hint: 'Connect it to another network as well, or leave -p out',
    });
  }
  const endpoints: Endpoint[] = [];
  const undo = (): void => {
    for (const { lease } of endpoints) release(lease, input.id);
  };
  try {
    for (const [number, one] of ready.entries()) {
      const lease = acquire(one.pool, input.id, wanted[number]?.ip);
      const mac = wanted[number]?.mac;
      const attachment = attach({
        id: input.id,
        network: one.network,
        lease,
        mac,
        isDefault: number === outward,
        random: host.random,
      });
      const bandwidth = bandwidthOf(request.rates, one.network);
      endpoints.push({ ready: one, lease, attachment, bandwidth });
      writeNames(lease.path, attachment, namesOf(input, wanted[number]?.aliases ?? []));
    }
    const main = endpoints[Math.max(0, outward)];
    const first = endpoints[0];
    if (main === undefined || first === undefined)
      throw new TinyrunError('internal', 'no network to connect to');
    if (bindings.length > 0) writeRecord(main.lease.path, bindings);
    const ports = portOps(host, main.ready, bindings, main.attachment, input.releasePath);
    const addresses = endpoints.flatMap(({ attachment: { ipv4, ipv6 } }) =>
      [ipv4, ipv6].flatMap((end) => (end === undefined ? [] : [formatAddress(end.address)])),
    );
    const exposed = [...input.exposed, ...request.expose];
    const limits = bandwidthOps(
      endpoints.map(({ attachment: { hostInterface, hostIndex: index }, bandwidth, ready: { network } }) => ({
        ...{ hostInterface, index, bandwidth },
        mtu: network.mtu,
      })),
      input.rateFiles,
    );
    const ownResolver = !servesNames(bindings, exposed);
    return {
      prepare: ports.prepare,
      child: [
        ...interfaceOps(
          endpoints.map(({ attachment }) => attachment),
          firstIndex(host),
        ),
        ...(ownResolver ? [resolverOp(request, endpoints, outward >= 0)] : []),
      ],
      connect: [
        ...endpoints.flatMap(({ attachment, ready: { network, index } }, number) =>
          connectOps(attachment, network, { bridgeIndex: index, name: `eth${number}` }),
        ),
        ...limits.connect,
      ],
      release: [
        ...ports.release,
        ...limits.release,
        ...endpoints.flatMap(({ lease }) => leaseOps(lease, lease === main.lease)),
      ],
      namespace: { type: 'new' },
      etc: etcFiles(input, host, {
        addresses,
        ipv6: endpoints.some(({ attachment }) => attachment.ipv6 !== undefined),
        hostGateway: main.ready.network.gateway,
        ownResolver,
      }),
      settings: {
        mode: 'bridge',
        ...settingsOf(first, wanted[0]?.aliases ?? []),
        ports: portMap(bindings, exposed),
        ...(endpoints.length === 1
          ? {}
          : {
              more: endpoints
                .slice(1)
                .map((one, number) => settingsOf(one, wanted[number + 1]?.aliases ?? [])),
            }),
      },
      warnings: [...new Set(ready.flatMap(({ warnings }) => warnings))],
      randomPorts: request.publishAll || request.publish.some((p) => p.hostPort === 0 || isChoice(p)),
      undo,
    };
  } catch (error) {
    undo();
    throw error;
  }
}

/**
 * A name server in the container wants port 53 on all its addresses, which ours would have in part: it gets the host's servers,
 * as it probably knows who to ask anyhow.
 */
function servesNames(bindings: readonly Binding[], exposed: readonly string[]): boolean {
  return (
    bindings.some(({ containerPort }) => containerPort === 53) ||
    exposed.some((port) => /^53(\/|$)/.test(port))
  );
}

/** Whoever is only on internal networks has nobody to be asked beyond them: a question is a message, too (CVE-2024-29018). */
function resolverOp({ dns }: NetworkRequest, endpoints: readonly Endpoint[], leadsOut: boolean): Op {
  return {
    op: 'resolver',
    directories: endpoints.map(({ ready }) => ready.pool.directory),
    servers: leadsOut ? dns : [],
    ...(leadsOut ? { resolvConf: '/etc/resolv.conf' } : {}),
    ...(endpoints[0] === undefined ? {} : { host: endpoints[0].ready.network.gateway }),
    what: 'make the socket for names, 127.0.0.11:53',
  };
}

/** By what others on the network find the container. */
function namesOf({ id, name, hostname }: NetworkInput, aliases: readonly string[]): string[] {
  return [...new Set([name, ...aliases, hostname, id.slice(0, 12)].map((one) => one.toLowerCase()))];
}

function attach(input: {
  readonly id: string;
  readonly network: BridgeNetwork;
  readonly lease: Lease;
  readonly mac: Uint8Array | undefined;
  readonly isDefault: boolean;
  readonly random: (length: number) => Uint8Array;
}): Attachment {
  const { network, lease } = input;
  const subnet = parsePrefix(network.subnet);
  const gateway = parseAddress(network.gateway);
  if (subnet === undefined || gateway === undefined) {
    throw new TinyrunError('internal', `Cannot use the network "${network.name}": its record is damaged`);
  }
  const base = {
    hostInterface: hostInterfaceName(input.id, network.id, input.random(2)),
    hostIndex: hostIndex(input.random(4)),
    isDefault: input.isDefault,
    mac: input.mac ?? macOf(lease.address),
    ipv4: { address: lease.address, prefixLength: subnet.length, gateway },
  };
  const subnet6 = parsePrefix(network.subnet6 ?? '');
  const gateway6 = parseAddress(network.gateway6 ?? '');
  if (subnet6 === undefined || gateway6 === undefined) return base;
  // The same number in both families: no second pool to keep, and one sees what belongs together.
  const address = addressAt(subnet6, offsetIn(subnet, lease.address));
  return { ...base, ipv6: { address, prefixLength: subnet6.length, gateway: gateway6 } };
}

function portOps(
  host: NetworkHost,
  ready: ReadyBridge,
  bindings: readonly Binding[],
  attachment: Attachment,
  releasePath: string | undefined,
): { prepare: Op[]; release: Op[] } {
  const { ipv4, ipv6 } = attachment;
  const prepare = listenOps(bindings, formatAddress(ipv4.address));
  const elements = elementsOf(bindings, {
    ipv4: ipv4.address,
    ...(ipv6 === undefined ? {} : { ipv6: ipv6.address }),
  });
  const { table } = ready;
  if (table === undefined) return { prepare, release: [] };
  const op = { op: 'netlink', protocol: 'netfilter' } as const;
  const deleted: Op = {
    ...op,
    messages: elements.length === 0 ? new Uint8Array(0) : deleteElements(table, elements),
    ...(releasePath === undefined ? {} : { instead: releasePath }),
    optional: true,
    what: 'take the published ports out of the firewall',
  };
  if (elements.length === 0) return { prepare, release: releasePath === undefined ? [] : [deleted] };
  const added: Op = {
    ...op,
    messages: addElements(table, elements),
    what: 'put the published ports into the firewall',
  };
  const udp = new Set(bindings.flatMap((b) => (b.protocol === 'udp' ? [b.hostPort] : [])));
  const subnets = [ready.network.subnet, ready.network.subnet6].flatMap(
    (text) => parsePrefix(text ?? '') ?? [],
  );
  return { prepare: [...prepare, added, ...forgetUdpOps(host, [...udp], subnets)], release: [deleted] };
}

function leaseOps(lease: Lease, published: boolean): Op[] {
  const what = `give the address "${formatAddress(lease.address)}" back`;
  const paths = [...(published ? [recordPath(lease.path)] : []), namesPath(lease.path), lease.path];
  return paths.map((path) => ({ op: 'unlink', path, optional: true, what }));
}

function settingsOf(
  { ready: { network }, attachment, bandwidth }: Endpoint,
  aliases: readonly string[],
): EndpointSettings {
  const { ipv4, ipv6 } = attachment;
  const settings = {
    network: network.name,
    networkId: network.id,
    ip: formatAddress(ipv4.address),
    prefix: ipv4.prefixLength,
    gateway: formatAddress(ipv4.gateway),
    mac: formatMac(attachment.mac),
    hostInterface: attachment.hostInterface,
    ...(Object.keys(bandwidth).length === 0 ? {} : { bandwidth }),
    ...(aliases.length === 0 ? {} : { aliases }),
  } as const;
  if (ipv6 === undefined) return settings;
  return {
    ...settings,
    ipv6: formatAddress(ipv6.address),
    prefix6: ipv6.prefixLength,
    gateway6: formatAddress(ipv6.gateway),
  };
}

function isChoice(request: {
  hostPort: number;
  hostPortEnd: number;
  containerPort: number;
  containerPortEnd: number;
}): boolean {
  return request.hostPortEnd > request.hostPort && request.containerPort === request.containerPortEnd;
}
