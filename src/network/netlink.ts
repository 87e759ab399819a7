/**
 * Netlink's framing, shared by rtnetlink and nfnetlink: header, fixed struct, attributes, all padded to four bytes.
 * Numbers are in host order (little-endian on every architecture that tinyrun is built for) unless an encoder says so.
 * @see https://docs.kernel.org/userspace-api/netlink/intro.html
 */

/** An attribute: its type and its value, or the attributes nested in it. */
export type Attribute = readonly [type: number, value: Uint8Array | readonly Attribute[]];

export interface Message {
  readonly type: number;
  readonly flags: number;
  /** The protocol's own struct behind the header, such as `ifinfomsg`. */
  readonly body: Uint8Array;
  readonly attributes: readonly Attribute[];
}

/** What a reply holds; nested attributes are read with `attributesOf` again. */
export interface Reply {
  readonly type: number;
  readonly payload: Uint8Array;
}

export const REQUEST = 0x01;
export const ACK = 0x04;
/** Of a `get` request: all of them. */
export const DUMP = 0x300;
/** Of a `new` request. */
export const REPLACE = 0x100;
export const EXCLUSIVE = 0x200;
export const CREATE = 0x400;

/** Length of struct nlmsghdr. */
export const HEADER = 16;
const NESTED = 0x8000;
const TYPE_MASK = 0x3fff;

/** Sequence numbers are the messages' positions, from 1. */
export function encode(messages: readonly Message[]): Uint8Array {
  const sizes = messages.map((message) => HEADER + align(message.body.length) + sizeOf(message.attributes));
  const bytes = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
  const view = new DataView(bytes.buffer);
  let offset = 0;
  for (const [index, message] of messages.entries()) {
    view.setUint32(offset, sizes[index] ?? 0, true);
    view.setUint16(offset + 4, message.type, true);
    view.setUint16(offset + 6, message.flags, true);
    view.setUint32(offset + 8, index + 1, true);
    bytes.set(message.body, offset + HEADER);
    writeAttributes(bytes, view, offset + HEADER + align(message.body.length), message.attributes);
    offset += sizes[index] ?? 0;
  }
  return bytes;
}

/** Attributes behind a struct, where a protocol nests them so (VETH_INFO_PEER) or wants a plain value. */
export function encodeAttributes(body: Uint8Array, attributes: readonly Attribute[]): Uint8Array {
  const start = align(body.length);
  const bytes = new Uint8Array(start + sizeOf(attributes));
  bytes.set(body);
  writeAttributes(bytes, new DataView(bytes.buffer), start, attributes);
  return bytes;
}

/** Splits what the kernel answered. Stops at the first length that cannot be. */
export function decode(bytes: Uint8Array): Reply[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const replies: Reply[] = [];
  for (let offset = 0; offset + HEADER <= bytes.length; ) {
    const length = view.getUint32(offset, true);
    if (length < HEADER || offset + length > bytes.length) break;
    replies.push({
      type: view.getUint16(offset + 4, true),
      payload: bytes.subarray(offset + HEADER, offset + length),
    });
    offset += align(length);
  }
  return replies;
}

/** Attribute type → value, of the attributes behind the first `skip` bytes. */
export function attributesOf(payload: Uint8Array, skip: number): Map<number, Uint8Array> {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const attributes = new Map<number, Uint8Array>();
  for (let offset = align(skip); offset + 4 <= payload.length; ) {
    const length = view.getUint16(offset, true);
    if (length < 4 || offset + length > payload.length) break;
    attributes.set(
      view.getUint16(offset + 2, true) & TYPE_MASK,
      payload.subarray(offset + 4, offset + length),
    );
    offset += align(length);
  }
  return attributes;
}

export function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

/** Zero-terminated, as the kernel wants interface and table names. (TextEncoder and TextDecoder cost a start 0.6 ms.) */
export function text(value: string): Uint8Array {
  return Buffer.from(`${value}\0`);
}

export function readU32(bytes: Uint8Array | undefined): number | undefined {
  if (bytes === undefined || bytes.length < 4) return undefined;
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
}

export function readText(bytes: Uint8Array | undefined): string | undefined {
  if (bytes === undefined) return undefined;
  const end = bytes.indexOf(0);
  const length = end < 0 ? bytes.length : end;
  return Buffer.from(bytes.buffer, bytes.byteOffset, length).toString();
}

/** Messages already encoded, one after the other, for one send. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

function align(length: number): number {
  return (length + 3) & ~3;
}

function sizeOf(attributes: readonly Attribute[]): number {
  return attributes.reduce((sum, [, value]) => sum + 4 + align(lengthOf(value)), 0);
}

function lengthOf(value: Attribute[1]): number {
  return value instanceof Uint8Array ? value.length : sizeOf(value);
}

function writeAttributes(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  attributes: readonly Attribute[],
): void {
  let offset = start;
  for (const [type, value] of attributes) {
    const length = lengthOf(value);
    if (length > 0xffff - 4) throw new RangeError(`Cannot encode attribute ${type}: ${length} bytes`);
    view.setUint16(offset, 4 + length, true);
    view.setUint16(offset + 2, value instanceof Uint8Array ? type : type | NESTED, true);
    if (value instanceof Uint8Array) bytes.set(value, offset + 4);
    else writeAttributes(bytes, view, offset + 4, value);
    offset += 4 + align(length);
  }
}
