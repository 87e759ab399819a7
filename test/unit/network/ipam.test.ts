import { mkdtempSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import { formatAddress, parseAddress, parsePrefix } from '../../../src/network/addresses.ts';
import { acquire, leases, type Pool, reclaim, release } from '../../../src/network/ipam.ts';

const address = (text: string): Uint8Array => parseAddress(text) ?? new Uint8Array();
let directory = '';
let stale: Set<string>;
let now = 0;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ipam-'));
  stale = new Set();
  now = Date.now();
});
afterEach(() => rmSync(directory, { recursive: true }));

/** Six addresses for containers less the gateway's. */
function pool(subnet = '10.0.0.0/29'): Pool {
  const prefix = parsePrefix(subnet);
  if (prefix === undefined) throw new Error('bad test subnet');
  return {
    network: 'bridge',
    directory,
    subnet: prefix,
    gateway: address('10.0.0.1'),
    isStale: (id) => stale.has(id),
    now: () => now,
  };
}

const take = (id: string): string => formatAddress(acquire(pool(), id).address);

describe('acquire() of a range', () => {
  it('stays in it, and takes a wanted address outside of it', () => {
    const ranged: Pool = { ...pool('10.0.0.0/24'), range: { bytes: address('10.0.0.16'), length: 30 } };
    const next = () => formatAddress(acquire(ranged, 'a').address);
    expect([next(), next(), next(), next()]).toEqual(['16', '17', '18', '19'].map((n) => `10.0.0.${n}`));
    expect(next).toThrow('no available IPv4 addresses');
    expect(formatAddress(acquire(ranged, 'b', address('10.0.0.99')).address)).toBe('10.0.0.99');
  });
});

describe('acquire()', () => {
  it('goes round the subnet and leaves out network, gateway and broadcast', () => {
    expect(['a', 'b', 'c', 'd', 'e'].map(take)).toEqual(['2', '3', '4', '5', '6'].map((n) => `10.0.0.${n}`));
    expect(readlinkSync(join(directory, '10.0.0.2'))).toBe('a');
    expect(() => take('f')).toThrow("no available IPv4 addresses on this network's address pools: bridge");
  });

  it('gives an address that was released only after all others', () => {
    const first = acquire(pool(), 'a');
    release(first, 'a');
    expect(['b', 'c', 'd', 'e', 'f'].map(take)).toEqual(['3', '4', '5', '6', '2'].map((n) => `10.0.0.${n}`));
  });

  it('takes over leases of containers that are gone, but not those of starts under way', () => {
    for (const id of ['a', 'b', 'c', 'd', 'e']) take(id);
    stale.add('c');
    expect(() => take('f')).toThrow('no available');
    now += 3_600_000;
    expect(take('f')).toBe('10.0.0.4');
  });

  it('does without a hint that can be read', () => {
    for (const hint of ['', '-3', 'x', '99999999']) {
      writeFileSync(join(directory, '.next'), hint);
      const lease = acquire(pool(), 'a');
      expect(leases(directory).size).toBe(1);
      release(lease, 'a');
    }
  });

  it('gives the wanted address', () => {
    expect(formatAddress(acquire(pool(), 'a', address('10.0.0.5')).address)).toBe('10.0.0.5');
    expect(() => acquire(pool(), 'b', address('10.0.0.5'))).toThrow('Address already in use');
    stale.add('a');
    now += 3_600_000;
    expect(formatAddress(acquire(pool(), 'b', address('10.0.0.5')).address)).toBe('10.0.0.5');
  });

  test.each(['10.0.0.0', '10.0.0.1', '10.0.0.7'])("refuses %s, which is not a container's", (text) => {
    expect(() => acquire(pool(), 'a', address(text))).toThrow('Address already in use');
  });

  it('refuses an address of another subnet', () => {
    expect(() => acquire(pool(), 'a', address('10.0.0.9'))).toThrow(
      "invalid address 10.0.0.9: It does not belong to any of this network's subnets",
    );
  });

  it('finds the only free address of a larger subnet, over the border of an octet', () => {
    for (let i = 2; i < 510; i += 1) symlinkSync('x', join(directory, `10.0.${i >> 8}.${i & 255}`));
    expect(formatAddress(acquire(pool('10.0.0.0/23'), 'a').address)).toBe('10.0.1.254');
  });
});

describe('release()', () => {
  it('is idempotent and leaves alone what another container holds', () => {
    const lease = acquire(pool(), 'a');
    release(lease, 'b');
    expect(leases(directory)).toEqual(new Map([['10.0.0.2', 'a']]));
    release(lease, 'a');
    release(lease, 'a');
    expect(leases(directory).size).toBe(0);
  });

  it('takes the records with it, and leaves those of the next holder alone', () => {
    const lease = acquire(pool(), 'a');
    for (const kind of ['ports', 'names']) writeFileSync(`${lease.path}.${kind}`, '');
    release(lease, 'b');
    expect(readdirSync(directory).filter((name) => name !== '.next')).toHaveLength(3);
    release(lease, 'a');
    expect(readdirSync(directory)).toEqual(['.next']);
  });
});

describe('reclaim()', () => {
  it('removes stale leases and nothing else', () => {
    take('a');
    take('b');
    writeFileSync(join(directory, '10.0.0.3.ports'), '[]');
    stale.add('a');
    now += 3_600_000;
    expect(reclaim(pool())).toBe(1);
    expect(readdirSync(directory).sort()).toEqual(['.next', '10.0.0.3', '10.0.0.3.ports']);
  });
  it('is content without a directory', () => {
    expect(reclaim({ ...pool(), directory: join(directory, 'none') })).toBe(0);
  });
});
