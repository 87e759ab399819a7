/**
 * Addresses of containers. A lease is a symbolic link `<address>` → container's id in the network's lease directory, which a
 * reboot empties: making it reserves the address, in one atomic call and without a lock.
 */
import {
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { makePrivateDirectory } from '../disk/atomic.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import {
  addressAt,
  contains,
  formatAddress,
  offsetIn,
  type Prefix,
  parseAddress,
  sameBytes,
} from './addresses.ts';

export interface Pool {
  /** The network's name, for messages. */
  readonly network: string;
  /** Where the leases lie. */
  readonly directory: string;
  readonly subnet: Prefix;
  readonly gateway: Uint8Array;
  /** The part of the subnet that addresses are given out of, unless a certain one is wanted. */
  readonly range?: Prefix;
  /** Whether a lease's container is gone. Asked only when the pool is exhausted, and by `reclaim`. */
  readonly isStale: (id: string) => boolean;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export interface Lease {
  readonly address: Uint8Array;
  /** The lease's link, for the plan's release. */
  readonly path: string;
}

/** A start may hold a lease for so long before there is a monitor whose lock would tell that the container lives, ms. */
const GRACE = 120_000;
const HINT = '.next';

/**
 * Takes the next address behind the one that was given last, round and round: a veth outlives its container by some 50 ms, and
 * the bridge would go on to send the address's frames to it.
 * @param wanted `--ip`
 */
export function acquire(pool: Pool, id: string, wanted?: Uint8Array): Lease {
  if (wanted !== undefined) return acquireOne(pool, id, wanted);
  const lease = acquireFree(pool, id) ?? (reclaim(pool) > 0 ? acquireFree(pool, id) : undefined);
  if (lease === undefined) {
    throw new TinyrunError(
      'unavailable',
      `no available IPv4 addresses on this network's address pools: ${pool.network}`,
    );
  }
  return lease;
}

/** Gives an address back, with its records. Fine if it is given back already, or belongs to another container by now. */
export function release(lease: Lease, id: string): void {
  try {
    if (readlinkSync(lease.path) === id) remove(lease.path);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
}

/** Gives all addresses of a container back: of starts that were cut short. */
export function releaseAll(directory: string, id: string): void {
  for (const [address, holder] of leases(directory)) {
    if (holder === id) remove(`${directory}/${address}`);
  }
}

/** Where the ports are that the holder of a lease has published; no address, so no lease. */
export function recordPath(leasePath: string): string {
  return `${leasePath}.ports`;
}

/** What the holder of a lease is called on the network: its IPv6 address or `-`, then a name in each line. */
export function namesPath(leasePath: string): string {
  return `${leasePath}.names`;
}

/** The records first: without their lease nobody would find them, and they might be the next holder's. */
function remove(leasePath: string): void {
  rmSync(recordPath(leasePath), { force: true });
  rmSync(namesPath(leasePath), { force: true });
  rmSync(leasePath, { force: true });
}

/** Address → container's id. */
export function leases(directory: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const name of entries(directory)) {
    if (parseAddress(name) === undefined) continue;
    try {
      found.set(name, readlinkSync(`${directory}/${name}`));
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
    }
  }
  return found;
}

/** Removes the leases of containers that are gone. @returns how many */
export function reclaim(pool: Pool): number {
  let count = 0;
  for (const [address, id] of leases(pool.directory)) {
    const path = `${pool.directory}/${address}`;
    if (!existsLongEnough(path, pool.now()) || !pool.isStale(id)) continue;
    remove(path);
    count += 1;
  }
  return count;
}

function acquireOne(pool: Pool, id: string, wanted: Uint8Array): Lease {
  const text = formatAddress(wanted);
  if (!contains(pool.subnet, wanted)) {
    throw new TinyrunError(
      'invalid',
      `invalid address ${text}: It does not belong to any of this network's subnets`,
    );
  }
  const edge = offsetIn(pool.subnet, wanted);
  const free = edge > 0 && edge < hostCount(pool.subnet) - 1 && !sameBytes(wanted, pool.gateway);
  const path = `${pool.directory}/${text}`;
  if (free && (reserve(path, id) || (reclaim(pool) > 0 && reserve(path, id))))
    return { address: wanted, path };
  throw new TinyrunError('conflict', 'Address already in use');
}

function acquireFree(pool: Pool, id: string): Lease | undefined {
  const { first, size } = shares(pool);
  const start = Math.max(nextHint(pool.directory) - first + 1, 1);
  let taken: Set<string> | undefined;
  for (let i = 0; i < size; i += 1) {
    const offset = first + ((start - 1 + i) % size);
    const address = addressAt(pool.subnet, offset);
    const name = formatAddress(address);
    if (sameBytes(address, pool.gateway) || taken?.has(name) === true) continue;
    const path = `${pool.directory}/${name}`;
    if (reserve(path, id)) {
      writeFileSync(`${pool.directory}/${HINT}`, String(offset + 1));
      return { address, path };
    }
    // Once round: from now on ask only for those that nobody has.
    taken ??= new Set(entries(pool.directory));
  }
  return undefined;
}

/** Which numbers of the subnet are given out: not the first and the last, nor what is outside of the range. */
function shares({ subnet, range }: Pool): { first: number; size: number } {
  const last = hostCount(subnet) - 2;
  if (range === undefined) return { first: 1, size: last };
  const first = Math.max(1, offsetIn(subnet, range.bytes));
  return { first, size: Math.min(last, offsetIn(subnet, range.bytes) + hostCount(range) - 1) - first + 1 };
}

/** Only a hint: a torn or missing one means to start behind the gateway. */
function nextHint(directory: string): number {
  try {
    const value = Number(readFileSync(`${directory}/${HINT}`, 'utf8'));
    return Number.isInteger(value) && value > 1 ? value : 2;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return 2;
    throw error;
  }
}

function reserve(path: string, id: string): boolean {
  try {
    symlinkSync(id, path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    if (errorCode(error) !== 'ENOENT') throw error;
    makePrivateDirectory(dirname(path));
    return reserve(path, id);
  }
}

function hostCount(subnet: Prefix): number {
  return 2 ** (32 - subnet.length);
}

function entries(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

function existsLongEnough(path: string, now: number): boolean {
  try {
    return now - lstatSync(path).mtimeMs > GRACE;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}
