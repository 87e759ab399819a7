/**
 * The nf_tables messages that a start needs, as bytes: elements of the port maps in and out (5 µs; an `nft` process takes 3 ms),
 * and a look whether the table is there. Everything else goes through `nft`.
 * Values inside elements are in network order, each padded to four bytes.
 * @see https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/tree/include/uapi/linux/netfilter/nf_tables.h
 */
import { ACK, type Attribute, CREATE, encode, type Message, REQUEST, text } from './netlink.ts';

const SUBSYSTEM_NFTABLES = 10;
const BATCH_BEGIN = 0x10;
const BATCH_END = 0x11;
const NFT_MSG = { deleteTable: 2, getChain: 4, newElement: 12, deleteElement: 14 } as const;
const TABLE_NAME = 1;
const CHAIN = { table: 1, name: 3 } as const;
const ELEMENTS = { table: 1, set: 2, elements: 3 } as const;
const LIST_ELEMENT = 1;
const ELEMENT = { key: 1, data: 2 } as const;
const DATA_VALUE = 1;
const NFPROTO_INET = 1;

/** An attribute's length is 16 bits: 64 bytes each, so many fit surely. */
const ELEMENTS_PER_MESSAGE = 900;

/** An element of a set or map of the table: raw key and raw data, see `concatenation`. */
export interface SetElement {
  readonly set: string;
  readonly key: Uint8Array;
  /** Only in a map. */
  readonly data?: Uint8Array;
}

/** All or none of them. An element that is there with the same data is fine; with other data it is EBUSY. */
export function addElements(table: string, elements: readonly SetElement[]): Uint8Array {
  return elementBatch(table, NFT_MSG.newElement, CREATE, elements);
}

/** All or none of them: ENOENT where one is missing. */
export function deleteElements(table: string, elements: readonly SetElement[]): Uint8Array {
  return elementBatch(table, NFT_MSG.deleteElement, 0, elements);
}

/** ENOENT where there is no such table of family `inet` or no such chain in it. */
export function getChain(table: string, chain: string): Uint8Array {
  return encode([
    nftMessage(NFT_MSG.getChain, ACK, [
      [CHAIN.table, text(table)],
      [CHAIN.name, text(chain)],
    ]),
  ]);
}

export function deleteTable(table: string): Uint8Array {
  return batch([nftMessage(NFT_MSG.deleteTable, ACK, [[TABLE_NAME, text(table)]])]);
}

/** The fields of a concatenated key or value, one after the other, each padded with zeros to four bytes. */
export function concatenation(...fields: readonly Uint8Array[]): Uint8Array {
  const bytes: number[] = [];
  for (const field of fields) {
    bytes.push(...field);
    while (bytes.length % 4 !== 0) bytes.push(0);
  }
  return Uint8Array.from(bytes);
}

/** A port as `inet_service`. */
export function service(port: number): Uint8Array {
  return Uint8Array.of(port >> 8, port & 255);
}

function elementBatch(
  table: string,
  type: number,
  flags: number,
  elements: readonly SetElement[],
): Uint8Array {
  const messages: Message[] = [];
  for (const set of new Set(elements.map((element) => element.set))) {
    const members = elements.filter((element) => element.set === set);
    for (let start = 0; start < members.length; start += ELEMENTS_PER_MESSAGE) {
      const list = members
        .slice(start, start + ELEMENTS_PER_MESSAGE)
        .map((element) => listElement(element, type === NFT_MSG.newElement));
      messages.push(
        nftMessage(type, flags | ACK, [
          [ELEMENTS.table, text(table)],
          [ELEMENTS.set, text(set)],
          [ELEMENTS.elements, list],
        ]),
      );
    }
  }
  return batch(messages);
}

function listElement(element: SetElement, withData: boolean): Attribute {
  const attributes: Attribute[] = [[ELEMENT.key, [[DATA_VALUE, element.key]]]];
  if (withData && element.data !== undefined) attributes.push([ELEMENT.data, [[DATA_VALUE, element.data]]]);
  return [LIST_ELEMENT, attributes];
}

/** nf_tables changes only in batches: what stands between begin and end happens whole or not at all. */
function batch(messages: readonly Message[]): Uint8Array {
  const edge = (type: number): Message => ({
    type,
    flags: REQUEST,
    body: nfgenmsg(0, SUBSYSTEM_NFTABLES),
    attributes: [],
  });
  return encode([edge(BATCH_BEGIN), ...messages, edge(BATCH_END)]);
}

function nftMessage(type: number, flags: number, attributes: readonly Attribute[]): Message {
  return {
    type: (SUBSYSTEM_NFTABLES << 8) | type,
    flags: REQUEST | flags,
    body: nfgenmsg(NFPROTO_INET, 0),
    attributes,
  };
}

/** struct nfgenmsg: family, version, resource id in network order. */
function nfgenmsg(family: number, resource: number): Uint8Array {
  return Uint8Array.of(family, 0, resource >> 8, resource & 255);
}
