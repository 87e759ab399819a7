import { describe, expect, it } from 'vitest';
import { attributesOf, decode, encode, readText, readU32, text, u32 } from '../../../src/network/netlink.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('encode()', () => {
  it('pads the body and every attribute to four bytes, lengths without the padding', () => {
    const bytes = encode([{ type: 16, flags: 5, body: Uint8Array.of(1, 2), attributes: [[3, text('ab')]] }]);
    expect(hex(bytes)).toBe(
      ['1c000000', '1000', '0500', '01000000', '00000000', '01020000', '0700', '0300', '61620000'].join(''),
    );
  });

  it('marks nested attributes and numbers the messages', () => {
    const message = { type: 1, flags: 0, body: new Uint8Array(), attributes: [[18, [[1, u32(7)]]] as const] };
    const bytes = encode([message, message]);
    expect(hex(bytes.subarray(16, 28))).toBe(['0c00', '1280', '0800', '0100', '07000000'].join(''));
    expect(readU32(bytes.subarray(28 + 8))).toBe(2);
  });

  it('refuses an attribute that 16 bits cannot measure', () => {
    const attributes = [[1, new Uint8Array(70_000)] as const];
    expect(() => encode([{ type: 1, flags: 0, body: new Uint8Array(), attributes }])).toThrow(RangeError);
  });
});

describe('decode()', () => {
  it('gives back what encode() made', () => {
    const bytes = encode([
      {
        type: 16,
        flags: 0,
        body: Uint8Array.of(9, 9, 9),
        attributes: [
          [3, text('eth0')],
          [4, u32(1500)],
        ],
      },
      { type: 20, flags: 0, body: new Uint8Array(8), attributes: [] },
    ]);
    const replies = decode(bytes);
    expect(replies.map((reply) => reply.type)).toEqual([16, 20]);
    const attributes = attributesOf(replies[0]?.payload ?? new Uint8Array(), 3);
    expect(readText(attributes.get(3))).toBe('eth0');
    expect(readU32(attributes.get(4))).toBe(1500);
  });

  it('stops at a length that cannot be', () => {
    const bytes = encode([{ type: 16, flags: 0, body: new Uint8Array(4), attributes: [] }]);
    for (const length of [0, 15, 21, 0xffffffff]) {
      new DataView(bytes.buffer).setUint32(0, length, true);
      expect(decode(bytes)).toEqual([]);
    }
    expect(attributesOf(Uint8Array.of(3, 0, 1, 0), 0).size).toBe(0);
    expect(attributesOf(Uint8Array.of(9, 0, 1, 0, 1), 0).size).toBe(0);
  });
});
