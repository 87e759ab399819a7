/** Plans a container that gets an interface on the bridge. */
import { TinyrunError } from '../errors.ts';
import type { Op } from '../native/plan.ts';
import {
  addressAt,
  formatAddress,
  formatMac,
  macOf,
  offsetIn,
  parseAddress,
  parseMac,
  parsePrefix,
} from './addresses.ts';
import { type Attachment, connectOps, firstIndex, hostInterfaceName, interfaceOps } from './attachment.ts';
import type { BridgeNetwork } from './bridge.ts';
import { forgetUdpOps } from './conntrack.ts';
import type { DefaultBridge, ReadyBridge } from './default-bridge.ts';
import { etcFiles } from './etc.ts';
import { elementsOf } from './firewall.ts';
import type { NetworkHost } from './host.ts';
import { acquire, type Lease, recordPath, release } from './ipam.ts';
import { addElements, deleteElements } from './nfnetlink.ts';
import type { NetworkInput, NetworkPlan, NetworkSettings } from './plan.ts';
import { type Binding, bindPorts, listenOps, portChooser, portMap } from './ports.ts';
import { removeRecord, writeRecord } from './published.ts';

/**
 * Order at the end of the container: the elements go out of the firewall, then the lease and its record. The monitor closes the
 * listening sockets after that, so that whoever gets the port next finds the firewall's maps without it.
 */
export async function planBridge(
  input: NetworkInput,
  host: NetworkHost,
  bridge: DefaultBridge,
): Promise<NetworkPlan> {
  const { request } = input;
  const mac = wantedMac(request.macAddress);
  const ip = wantedAddress(request.ip);
  const ready = await bridge.ready();
  const { network } = ready;
  const bindings = bindPorts({
    publish: request.publish,
    publishAll: request.publishAll,
    exposed: [...input.exposed, ...request.expose],
    ipv6: host.exists('/proc/net/if_inet6'),
    freePort: portChooser(host.readText, host.random),
  });
  const lease = acquire(ready.pool, input.id, ip);
  const undo = (): void => {
    if (release(lease, input.id)) removeRecord(lease.path);
  };
  try {
    if (bindings.length > 0) writeRecord(lease.path, bindings);
    const attachment = attach({ id: input.id, network, lease, mac, random: host.random });
    const ports = portOps(host, ready, bindings, attachment);
    const addresses = [attachment.ipv4, attachment.ipv6].flatMap((i) =>
      i === undefined ? [] : [formatAddress(i.address)],
    );
    return {
      prepare: ports.prepare,
      child: interfaceOps(attachment, firstIndex(host)),
      connect: connectOps(attachment, network, ready.index),
      release: [...ports.release, ...leaseOps(lease, bindings.length > 0)],
      namespace: { type: 'new' },
      etc: etcFiles(input, host, {
        addresses,
        ipv6: attachment.ipv6 !== undefined,
        hostGateway: network.gateway,
      }),
      settings: settingsOf(network, attachment, bindings, [...input.exposed, ...request.expose]),
      warnings: ready.warnings,
      randomPorts: request.publishAll || request.publish.some((p) => p.hostPort === 0 || isChoice(p)),
      undo,
    };
  } catch (error) {
    undo();
    throw error;
  }
}

function attach(input: {
  readonly id: string;
  readonly network: BridgeNetwork;
  readonly lease: Lease;
  readonly mac: Uint8Array | undefined;
  readonly random: (length: number) => Uint8Array;
}): Attachment {
  const { network, lease } = input;
  const subnet = parsePrefix(network.subnet);
  const gateway = parseAddress(network.gateway);
  if (subnet === undefined || gateway === undefined) {
    throw new TinyrunError('internal', `Cannot use the network "${network.name}": its record is damaged`);
  }
  const base = {
    hostInterface: hostInterfaceName(input.id, input.random(2)),
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
): { prepare: Op[]; release: Op[] } {
  const { ipv4, ipv6 } = attachment;
  const prepare = listenOps(bindings, formatAddress(ipv4.address));
  const elements = elementsOf(bindings, {
    ipv4: ipv4.address,
    ...(ipv6 === undefined ? {} : { ipv6: ipv6.address }),
  });
  const { table } = ready;
  if (elements.length === 0 || table === undefined) return { prepare, release: [] };
  const op = { op: 'netlink', protocol: 'netfilter' } as const;
  const added: Op = {
    ...op,
    messages: addElements(table, elements),
    what: 'put the published ports into the firewall',
  };
  const deleted: Op = {
    ...op,
    messages: deleteElements(table, elements),
    optional: true,
    what: 'take the published ports out of the firewall',
  };
  const udp = new Set(bindings.flatMap((b) => (b.protocol === 'udp' ? [b.hostPort] : [])));
  const subnets = [ready.network.subnet, ready.network.subnet6].flatMap(
    (text) => parsePrefix(text ?? '') ?? [],
  );
  return { prepare: [...prepare, added, ...forgetUdpOps(host, [...udp], subnets)], release: [deleted] };
}

function leaseOps(lease: Lease, published: boolean): Op[] {
  const what = `give the address "${formatAddress(lease.address)}" back`;
  const paths = published ? [recordPath(lease.path), lease.path] : [lease.path];
  return paths.map((path) => ({ op: 'unlink', path, optional: true, what }));
}

function settingsOf(
  network: BridgeNetwork,
  attachment: Attachment,
  bindings: readonly Binding[],
  exposed: readonly string[],
): NetworkSettings {
  const { ipv4, ipv6 } = attachment;
  const settings = {
    mode: 'bridge',
    network: network.name,
    networkId: network.id,
    ip: formatAddress(ipv4.address),
    prefix: ipv4.prefixLength,
    gateway: formatAddress(ipv4.gateway),
    mac: formatMac(attachment.mac),
    hostInterface: attachment.hostInterface,
    ports: portMap(bindings, exposed),
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

function wantedMac(text: string | undefined): Uint8Array | undefined {
  if (text === undefined) return undefined;
  const mac = parseMac(text);
  if (mac === undefined)
    throw new TinyrunError('invalid', `${JSON.stringify(text).slice(1, -1)} is not a valid mac address`);
  return mac;
}

function wantedAddress(text: string | undefined): Uint8Array | undefined {
  if (text === undefined) return undefined;
  const address = parseAddress(text);
  if (address?.length !== 4) {
    throw new TinyrunError('invalid', `invalid IPv4 address: ${JSON.stringify(text).slice(1, -1)}`);
  }
  return address;
}
