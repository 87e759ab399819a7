import { describe, expect, it } from 'vitest';
import { decode } from '../../../src/network/netlink.ts';
import {
  addElements,
  concatenation,
  deleteElements,
  deleteTable,
  getChain,
  service,
} from '../../../src/network/nfnetlink.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** `nft add element inet tinyrun port4 { 192.0.2.1 . tcp . 8081 : 172.29.0.2 . 81 }` */
const element = {
  set: 'port4',
  key: concatenation(Uint8Array.of(192, 0, 2, 1), Uint8Array.of(6), service(8081)),
  data: concatenation(Uint8Array.of(172, 29, 0, 2), service(81)),
};

describe('addElements()', () => {
  it('has the bytes that nft sends', () => {
    const bytes = hex(addElements('tinyrun', [element]));
    const list = '2c000380' + '28000180' + '14000180' + '10000100' + 'c0000201' + '06000000' + '1f910000';
    expect(bytes).toContain(`${list}100002800c000100ac1d000200510000`);
    expect(bytes).toContain(`0c000100${Buffer.from('tinyrun\0').toString('hex')}`);
    expect(bytes).toContain('0a000200706f727434000000');
  });

  it('stands between begin and end of a batch', () => {
    const replies = decode(addElements('tinyrun', [element]));
    expect(replies.map((reply) => reply.type)).toEqual([0x10, 0xa0c, 0x11]);
    expect(hex(replies[0]?.payload ?? new Uint8Array())).toBe('0000000a');
  });

  it('has one message per set, and splits what does not fit into one attribute', () => {
    const many = Array.from({ length: 2000 }, (_, port) => ({
      ...element,
      key: concatenation(service(port)),
    }));
    const types = decode(addElements('tinyrun', [...many, { ...element, set: 'port4any' }])).map(
      (r) => r.type,
    );
    expect(types).toEqual([0x10, 0xa0c, 0xa0c, 0xa0c, 0xa0c, 0x11]);
  });
});

describe('deleteElements()', () => {
  it('names the keys only', () => {
    const bytes = deleteElements('tinyrun', [element]);
    expect(decode(bytes).map((reply) => reply.type)).toEqual([0x10, 0xa0e, 0x11]);
    expect(hex(bytes)).not.toContain('ac1d0002');
  });
});

describe('getChain() and deleteTable()', () => {
  it('ask family inet', () => {
    expect(decode(getChain('tinyrun', 'x')).map((reply) => [reply.type, reply.payload[0]])).toEqual([
      [0xa04, 1],
    ]);
    expect(decode(deleteTable('tinyrun')).map((reply) => reply.type)).toEqual([0x10, 0xa02, 0x11]);
  });
});
