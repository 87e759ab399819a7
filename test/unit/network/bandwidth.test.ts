import { describe, expect, it } from 'vitest';
import {
  bandwidthOf,
  bandwidthOps,
  bandwidthRefusal,
  hostIndex,
  ifbName,
  networkRates,
} from '../../../src/network/bandwidth.ts';
import { parseRate, parseSize } from '../../../src/network/bandwidth-values.ts';
import { decode, encode } from '../../../src/network/netlink.ts';
import { addIfb } from '../../../src/network/rtnetlink.ts';
import { redirectIngress, setTokenBucket } from '../../../src/network/traffic-control.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const messagesOf = (bytes: Uint8Array) =>
  decode(bytes).map(({ type, payload }) => ({ type, hex: hex(payload) }));

describe('setTokenBucket()', () => {
  it('says rate, limit and burst as tc does, but for what the kernel computes itself', () => {
    const [message] = messagesOf(
      encode([setTokenBucket(9, { rate: 12_500_000, burst: 131_072, limit: 756_072 })]),
    );
    expect(message?.type).toBe(36);
    expect(message?.hex).toBe(
      [
        ...['00000000', '09000000', '00000000', 'ffffffff', '00000000'],
        ...['0800', '0100', '74626600'],
        ...['3400', '0280'],
        ...['2800', '0100', '0001000000000000', '20bcbe00'],
        ...['000000000000000000000000', '68890b00', '00000000', '00000000'],
        ...['0800', '0600', '00000200'],
      ].join(''),
    );
  });

  it('says rates beyond 32 bits in 64', () => {
    const [message] = messagesOf(encode([setTokenBucket(9, { rate: 2 ** 33, burst: 1, limit: 1 })]));
    expect(message?.hex).toContain('0c00040000000000' + '02000000');
    expect(message?.hex).toContain('ffffffff');
  });
});

describe('redirectIngress()', () => {
  it('is the qdisc and the filter that tc makes', () => {
    const [qdisc, filter] = messagesOf(encode(redirectIngress(9, 0x5968_2f01)));
    expect(qdisc?.hex).toBe(
      '00000000' + '09000000' + '0000ffff' + 'f1ffffff' + '00000000' + '0c000100696e677265737300',
    );
    expect(filter?.type).toBe(44);
    // As strace shows it of `tc filter add … u32 match u32 0 0 action mirred egress redirect`; it marks fewer attributes as nested.
    expect(filter?.hex).toBe(
      [
        ...['00000000', '09000000', '00000000', '0000ffff', '00030100'],
        ...['08000100', '75333200', '60000280'],
        ...['38000780', '34000180', '0b000100', '6d697272', '65640000'],
        ...[
          '24000280',
          '20000200',
          '00000000',
          '00000000',
          '04000000',
          '00000000',
          '00000000',
          '01000000',
          '012f6859',
        ],
        ...[
          '24000500',
          '01000100',
          '00000000',
          '00000000',
          '00000000',
          '00000000',
          '00000000',
          '00000000',
          '00000000',
        ],
      ].join(''),
    );
  });
});

it('addIfb() may find it there', () => {
  const bytes = encode([addIfb('tiabc', 7, 1500)]);
  expect(new DataView(bytes.buffer).getUint16(6, true)).toBe(0x1 | 0x4 | 0x400);
  expect(hex(bytes)).toContain(Buffer.from('ifb\0').toString('hex'));
});

describe('bandwidthOps()', () => {
  const shaped = { hostInterface: 'tr123456789abcd', index: 300, mtu: 1500 };
  const typesOf = (op: ReturnType<typeof bandwidthOps>['connect'][number] | undefined) =>
    op?.op === 'netlink' ? decode(op.messages).map(({ type }) => type) : undefined;

  it('are none without limits, unless there may be some later', () => {
    expect(bandwidthOps([{ ...shaped, bandwidth: {} }], undefined)).toEqual({ connect: [], release: [] });
    const { connect, release } = bandwidthOps([{ ...shaped, bandwidth: {} }], { set: '/s', release: '/r' });
    expect(connect).toMatchObject([{ instead: '/s', messages: new Uint8Array() }]);
    expect(release).toMatchObject([{ instead: '/r', optional: true }]);
  });

  it('take back what does not go with the veth: the redirection first', () => {
    const { connect, release } = bandwidthOps([{ ...shaped, bandwidth: { in: 1e6, out: 1e6 } }], undefined);
    expect(typesOf(connect[0])).toEqual([36, 16, 36, 36, 44]);
    expect(typesOf(release[0])).toEqual([37, 17]);
    const inward = bandwidthOps([{ ...shaped, bandwidth: { in: 1e6 } }], undefined);
    expect(typesOf(inward.connect[0])).toEqual([36]);
    expect(inward.release).toEqual([]);
  });

  it('let at least a frame through', () => {
    const { connect } = bandwidthOps(
      [{ ...shaped, mtu: 9000, bandwidth: { in: 1000, burst: 2048 } }],
      undefined,
    );
    const [op] = connect;
    const burst =
      op?.op === 'netlink' ? new DataView(op.messages.buffer).getUint32(op.messages.length - 4, true) : 0;
    expect(burst).toBe(9018);
  });
});

describe('bandwidthOf()', () => {
  it('is the network’s, unless the container says otherwise', () => {
    const network = { options: { rate: '10mbit', 'out-rate': '1mbit' } };
    expect(bandwidthOf(undefined, network)).toEqual({ in: 1_250_000, out: 125_000 });
    expect(bandwidthOf({ in: 5 }, network)).toEqual({ in: 5, out: 125_000 });
    expect(bandwidthOf({ out: 0 }, network)).toEqual({ in: 1_250_000 });
    expect(bandwidthOf(undefined, {})).toEqual({});
  });

  it('reads the options of a network', () => {
    expect(networkRates({ 'in-rate': '1mbit', burst: '64k' })).toEqual({ in: 125_000, burst: 65_536 });
    expect(() => networkRates({ rate: 'fast' })).toThrow('invalid rate "fast"');
  });
});

describe('names and numbers of interfaces', () => {
  it('are those of no veth, and beyond those of the kernel', () => {
    expect(ifbName('tr123456789abcd')).toBe('ti123456789abcd');
    expect(hostIndex(Uint8Array.of(0, 0, 0, 1))).toBe(2 ** 28 + 1);
    expect(hostIndex(Uint8Array.of(255, 255, 255, 255))).toBe(2 ** 29 - 1);
  });
});

it('bandwidthRefusal() knows what the kernel lacks', () => {
  expect(bandwidthRefusal('limit the bandwidth of the container', 'ENOENT')).toMatchObject({
    kind: 'unsupported',
  });
  expect(bandwidthRefusal('limit the bandwidth of the container', 'EPERM')).toBeUndefined();
  expect(bandwidthRefusal('something else', 'ENOENT')).toBeUndefined();
});

describe('parseRate()', () => {
  it.each([
    ['10mbit', 1_250_000],
    ['1.5Gbit', 187_500_000],
    ['800kbps', 800_000],
    ['5mbps', 5_000_000],
    ['64000', 8000],
    ['1mibit', 131_072],
    ['unlimited', 0],
    ['0', 0],
  ])('reads %s', (text, rate) => expect(parseRate(text)).toBe(rate));

  it.each(['', '10m', '-1mbit', '1e6bit', '1kbit', '2tbit', 'mbit', '10 mbit'])('refuses %j', (text) =>
    expect(() => parseRate(text)).toThrow(/^invalid rate/),
  );
});

describe('parseSize()', () => {
  it.each([
    ['64k', 65_536],
    ['2MB', 2 * 2 ** 20],
    ['4096', 4096],
    ['0', 0],
  ])('reads %s', (text, size) => expect(parseSize(text)).toBe(size));

  it.each(['', '1', '2g', '64x', '-1'])('refuses %j', (text) =>
    expect(() => parseSize(text)).toThrow(/^invalid size/),
  );
});
