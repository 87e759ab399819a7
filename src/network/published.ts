/**
 * Which ports a running container has published, beside its lease: a flushed firewall is restored from these records, and they
 * vanish with the lease.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { errorCode } from '../errors.ts';
import { addressAt, formatAddress, offsetIn, parseAddress, parsePrefix } from './addresses.ts';
import type { Attachment } from './attachment.ts';
import type { BridgeNetwork } from './bridge.ts';
import { elementsOf } from './firewall.ts';
import { leases, namesPath, type Pool, recordPath } from './ipam.ts';
import type { SetElement } from './nfnetlink.ts';
import type { Binding } from './ports.ts';

export function writeRecord(leasePath: string, bindings: readonly Binding[]): void {
  writeFileSync(recordPath(leasePath), JSON.stringify(bindings), { mode: 0o600 });
}

/** What a resolver of the network answers from. @param names lower case */
export function writeNames(leasePath: string, { ipv6 }: Attachment, names: readonly string[]): void {
  const second = ipv6 === undefined ? '-' : formatAddress(ipv6.address);
  writeFileSync(namesPath(leasePath), `${[second, ...names].join('\n')}\n`, { mode: 0o600 });
}

/** Only the ports: the names may be the next holder's by now. */
export function removePorts(leasePath: string): void {
  rmSync(recordPath(leasePath), { force: true });
}

/** The firewall's elements of all containers that run. */
export function publishedElements(
  pool: Pool,
  network: BridgeNetwork,
  isRunning: (id: string) => boolean,
): SetElement[] {
  const subnet6 = parsePrefix(network.subnet6 ?? '');
  const elements: SetElement[] = [];
  for (const [text, id] of leases(pool.directory)) {
    const ipv4 = parseAddress(text);
    const bindings = readRecord(`${pool.directory}/${text}`);
    if (ipv4 === undefined || bindings.length === 0 || !isRunning(id)) continue;
    const ipv6 = subnet6 === undefined ? undefined : addressAt(subnet6, offsetIn(pool.subnet, ipv4));
    elements.push(...elementsOf(bindings, ipv6 === undefined ? { ipv4 } : { ipv4, ipv6 }));
  }
  return elements;
}

/** What a lease's holder has published. */
export function readRecord(leasePath: string): Binding[] {
  try {
    const value: unknown = JSON.parse(readFileSync(recordPath(leasePath), 'utf8'));
    return Array.isArray(value) ? value.filter(isBinding) : [];
  } catch (error) {
    // None published; or being written this moment, by a start that adds its elements itself.
    if (errorCode(error) === 'ENOENT' || error instanceof SyntaxError) return [];
    throw error;
  }
}

function isBinding(value: unknown): value is Binding {
  if (typeof value !== 'object' || value === null) return false;
  return (
    'protocol' in value &&
    (value.protocol === 'tcp' || value.protocol === 'udp') &&
    'hostIp' in value &&
    typeof value.hostIp === 'string' &&
    'hostPort' in value &&
    typeof value.hostPort === 'number' &&
    'containerPort' in value &&
    typeof value.containerPort === 'number'
  );
}
