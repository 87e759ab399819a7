/** Published ports: from `-p`, `-P` and EXPOSE to bindings of the host, and those to what the plan and inspect need. */
import type { PortRequest } from '../engine/options.ts';
import { TinyrunError } from '../errors.ts';
import type { Op } from '../native/plan.ts';

export type Protocol = 'tcp' | 'udp';

/** One port of the host, on one address, that leads to one port of the container. */
export interface Binding {
  readonly protocol: Protocol;
  /** An address of the host; `0.0.0.0` and `::` are all of one family. */
  readonly hostIp: string;
  readonly hostPort: number;
  readonly containerPort: number;
}

/** Docker's shape: `{"80/tcp": [{HostIp, HostPort}]}`, null for a port that is exposed and not published. */
export type PortMap = Record<string, { HostIp: string; HostPort: string }[] | null>;

export interface PortInput {
  readonly publish: readonly PortRequest[];
  readonly publishAll: boolean;
  /** `80/tcp`, `80`, `8000-8010/udp`. */
  readonly exposed: readonly string[];
  /** Whether the host has IPv6 sockets. */
  readonly ipv6: boolean;
  /** A port of the host, in the range or in the range for random ports, that nobody listens on. */
  readonly freePort: (protocol: Protocol, range: PortRange | undefined) => number;
}

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/**
 * Every port of every request, on every address. Free ports are only chosen here: the reservation is the op `listen`, whose
 * failure `portConflict` explains.
 */
export function bindPorts(input: PortInput): Binding[] {
  const bindings = new Map<string, Binding>();
  const add = (
    request: Pick<PortRequest, 'protocol' | 'hostIp'>,
    hostPort: number,
    containerPort: number,
  ): void => {
    const everywhere = input.ipv6 ? ['0.0.0.0', '::'] : ['0.0.0.0'];
    for (const hostIp of request.hostIp === undefined ? everywhere : [request.hostIp]) {
      const binding = { protocol: request.protocol, hostIp, hostPort, containerPort };
      bindings.set(`${binding.protocol} ${hostIp} ${hostPort} ${containerPort}`, binding);
    }
  };
  for (const request of input.publish) {
    const count = request.containerPortEnd - request.containerPort + 1;
    const anyOfRange = count === 1 && request.hostPortEnd > request.hostPort;
    for (let i = 0; i < count; i += 1) {
      const range = anyOfRange ? { first: request.hostPort, last: request.hostPortEnd } : undefined;
      const random = request.hostPort === 0 || anyOfRange;
      const hostPort = random ? input.freePort(request.protocol, range) : request.hostPort + i;
      add(request, hostPort, request.containerPort + i);
    }
  }
  if (input.publishAll) {
    for (const { protocol, port } of exposedPorts(input.exposed)) {
      const published = [...bindings.values()].some(
        (b) => b.protocol === protocol && b.containerPort === port,
      );
      if (!published) add({ protocol }, input.freePort(protocol, undefined), port);
    }
  }
  return [...bindings.values()];
}

/** The ops that reserve the ports and serve what the firewall does not reach. The target is IPv4: every server listens there. */
export function listenOps(bindings: readonly Binding[], targetAddress: string): Op[] {
  return bindings.map((binding) => ({
    op: 'listen',
    protocol: binding.protocol,
    address: binding.hostIp,
    port: binding.hostPort,
    targetAddress,
    targetPort: binding.containerPort,
    what: `listen on ${endpoint(binding.hostIp, binding.hostPort)}/${binding.protocol}`,
  }));
}

/**
 * Docker's words for a `listen` op that failed, or undefined for any other op.
 * @param errno symbolic, as the launch failure has it
 */
export function portConflict(op: Op, errno: string): TinyrunError | undefined {
  if (op.op !== 'listen') return undefined;
  const where = endpoint(op.address, op.port);
  if (errno === 'EADDRINUSE') {
    return new TinyrunError('conflict', `Bind for ${where} failed: port is already allocated`);
  }
  if (errno === 'EADDRNOTAVAIL') {
    return new TinyrunError('invalid', `Cannot listen on "${where}": the host does not have that address`);
  }
  return undefined;
}

/** What `inspect` and `ps` show. */
export function portMap(bindings: readonly Binding[], exposed: readonly string[]): PortMap {
  const map: PortMap = {};
  for (const { protocol, port } of exposedPorts(exposed)) map[`${port}/${protocol}`] = null;
  for (const binding of bindings) {
    const key = `${binding.containerPort}/${binding.protocol}`;
    const list = map[key] ?? [];
    list.push({ HostIp: binding.hostIp, HostPort: String(binding.hostPort) });
    map[key] = list;
  }
  return map;
}

/** @throws TinyrunError `invalid`, in Docker's words */
export function exposedPorts(exposed: readonly string[]): { protocol: Protocol; port: number }[] {
  const ports = new Map<string, { protocol: Protocol; port: number }>();
  for (const text of exposed) {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(\w+))?$/.exec(text);
    const first = Number(match?.[1]);
    const last = match?.[2] === undefined ? first : Number(match[2]);
    const protocol = match?.[3]?.toLowerCase() ?? 'tcp';
    if (match === null || first < 1 || last > 65535 || last < first) {
      throw new TinyrunError('invalid', `invalid range format for --expose: ${text}`);
    }
    // An image may expose sctp; publishing it is not possible here, listing it is not worth an error.
    if (protocol !== 'tcp' && protocol !== 'udp') continue;
    for (let port = first; port <= last; port += 1) ports.set(`${port}/${protocol}`, { protocol, port });
  }
  return [...ports.values()];
}

/**
 * Chooses free ports of the host. Random ones lie outside of the range that the kernel gives to outgoing connections
 * (`ip_local_port_range`), so that neither takes what the other needs.
 * @param read text of a /proc file, undefined where it is missing
 */
export function portChooser(
  read: (path: string) => string | undefined,
  random: (length: number) => Uint8Array,
): PortInput['freePort'] {
  const used = new Map<Protocol, Set<number>>();
  const usedBy = (protocol: Protocol): Set<number> => {
    const known = used.get(protocol) ?? usedPorts(protocol, read);
    used.set(protocol, known);
    return known;
  };
  return (protocol, range) => {
    const { first, last } = range ?? randomRange(read('/proc/sys/net/ipv4/ip_local_port_range'));
    const taken = usedBy(protocol);
    const size = last - first + 1;
    // A range of the user's is filled from below, as Docker does.
    const [high = 0, low = 0] = range === undefined ? random(2) : [];
    for (let i = 0; i < size; i += 1) {
      const port = first + ((high * 256 + low + i) % size);
      if (taken.has(port)) continue;
      taken.add(port);
      return port;
    }
    throw new TinyrunError(
      'conflict',
      `Cannot publish a port: all of ${first}-${last}/${protocol} are in use`,
    );
  };
}

function endpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function randomRange(localRange: string | undefined): PortRange {
  const [low = 32768, high = 60999] = (localRange ?? '').trim().split(/\s+/).filter(Boolean).map(Number);
  if (65535 - high >= 1024) return { first: high + 1, last: 65535 };
  if (low - 10000 >= 1024) return { first: 10000, last: low - 1 };
  return { first: 49152, last: 65535 };
}

/** Ports that are listened on (tcp) or bound (udp), on whatever address: /proc/net/tcp has `sl local:PORT remote state …`. */
function usedPorts(protocol: Protocol, read: (path: string) => string | undefined): Set<number> {
  const ports = new Set<number>();
  for (const file of [`/proc/net/${protocol}`, `/proc/net/${protocol}6`]) {
    for (const line of (read(file) ?? '').split('\n').slice(1)) {
      const [, local = '', , state] = line.trim().split(/\s+/);
      if (protocol === 'tcp' && state !== '0A') continue;
      const port = Number.parseInt(local.slice(local.lastIndexOf(':') + 1), 16);
      if (!Number.isNaN(port)) ports.add(port);
    }
  }
  return ports;
}
