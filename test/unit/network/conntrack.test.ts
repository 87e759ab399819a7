import { describe, expect, it } from 'vitest';
import { SyscallError } from '../../../src/errors.ts';
import { parseAddress, parsePrefix } from '../../../src/network/addresses.ts';
import { forgetUdpOps, staleTuples } from '../../../src/network/conntrack.ts';
import {
  attributesOf,
  decode,
  encode,
  encodeAttributes,
  type Message,
} from '../../../src/network/netlink.ts';
import { service } from '../../../src/network/nfnetlink.ts';

const address = (text: string): Uint8Array => parseAddress(text) ?? new Uint8Array();
const [subnet] = [parsePrefix('172.29.0.0/20')].flatMap((prefix) => prefix ?? []);
if (subnet === undefined) throw new Error('bad test subnet');

interface Connection {
  readonly protocol?: number;
  readonly port?: number;
  readonly status?: number;
  readonly target?: string;
}

/** From 192.0.2.9:7001 to a port of the host, translated to `target`:53. */
function connection({
  protocol = 17,
  port = 5353,
  status = 0x2e,
  target = '172.29.0.2',
}: Connection): Message {
  const tuple = (source: string, from: number, destination: string, to: number): Message['attributes'] => [
    [
      1,
      [
        [1, address(source)],
        [2, address(destination)],
      ],
    ],
    [
      2,
      [
        [1, Uint8Array.of(protocol)],
        [2, service(from)],
        [3, service(to)],
      ],
    ],
  ];
  return {
    type: 0x100,
    flags: 0,
    body: Uint8Array.of(2, 0, 0, 0),
    attributes: [
      [1, tuple('192.0.2.9', 7001, '198.51.100.1', port)],
      [2, tuple(target, 53, '192.0.2.9', 7001)],
      [3, Uint8Array.of(0, 0, 0, status)],
    ],
  };
}

const count = (of: Connection): number =>
  staleTuples(encode([connection(of)]), new Set([5353]), subnet).length;

describe('staleTuples()', () => {
  it('finds what is translated into the subnet, and nothing else', () => {
    expect(count({})).toBe(1);
    expect(count({ status: 0x0e })).toBe(0);
    expect(count({ protocol: 6 })).toBe(0);
    expect(count({ port: 53 })).toBe(0);
    expect(count({ target: '10.0.0.2' })).toBe(0);
  });

  it('takes anything malformed for none of them', () => {
    expect(staleTuples(encode([{ ...connection({}), attributes: [] }]), new Set([5353]), subnet)).toEqual([]);
    expect(staleTuples(encode([{ ...connection({}), type: 3 }]), new Set([5353]), subnet)).toEqual([]);
    expect(staleTuples(new Uint8Array(7), new Set([5353]), subnet)).toEqual([]);
  });
});

describe('forgetUdpOps()', () => {
  it('deletes by the original tuple, as it came', () => {
    const reply = encode([connection({})]);
    const [op] = forgetUdpOps({ netlink: () => reply }, [5353], [subnet]);
    if (op?.op !== 'netlink') throw new Error('no netlink op');
    const [request] = decode(op.messages);
    expect(request?.type).toBe(0x102);
    const tuple = attributesOf(request?.payload ?? new Uint8Array(), 4).get(1);
    expect(tuple).toEqual(
      encodeAttributes(new Uint8Array(), connection({}).attributes[0]?.[1] as Message['attributes']),
    );
    expect(op.optional).toBe(true);
  });

  it('asks once for many ports, not at all for none, and lives without connection tracking', () => {
    let asked = 0;
    const netlink = (): Uint8Array => {
      asked += 1;
      throw new SyscallError('netlink', '', 'EINVAL');
    };
    expect(forgetUdpOps({ netlink }, [], [subnet])).toEqual([]);
    expect(asked).toBe(0);
    expect(forgetUdpOps({ netlink }, [1, 2, 3], [subnet])).toEqual([]);
    expect(asked).toBe(3);
    forgetUdpOps(
      { netlink },
      Array.from({ length: 100 }, (_, i) => i),
      [subnet],
    );
    expect(asked).toBe(4);
  });
});
