/**
 * IP and MAC addresses as bytes in network order. Own parsers: `node:net` costs a start 2 ms, and its `isIP` accepts zones.
 */

/** `bytes` has 4 or 16 bytes; `length` is the number of leading bits that count. */
export interface Prefix {
  readonly bytes: Uint8Array;
  readonly length: number;
}

/** 4 bytes for IPv4, 16 for IPv6, undefined for anything else (zones such as `%eth0` and short forms such as `127.1` too). */
export function parseAddress(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

/** IPv6 in the form of RFC 5952: lower case, the longest run of zeros as `::`. */
export function formatAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0));
  const { start, length } = longestZeroRun(groups);
  const hex = groups.map((group) => group.toString(16));
  if (length < 2) return hex.join(':');
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`;
}

/** `172.29.0.0/20`; bits behind the prefix are cleared. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.lastIndexOf('/');
  if (slash < 0 || !/^\d{1,3}$/.test(text.slice(slash + 1))) return undefined;
  const bytes = parseAddress(text.slice(0, slash));
  const length = Number(text.slice(slash + 1));
  if (bytes === undefined || length > bytes.length * 8) return undefined;
  return { bytes: masked(bytes, length), length };
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix.bytes)}/${prefix.length}`;
}

/** False for addresses of the other family. */
export function contains(prefix: Prefix, address: Uint8Array): boolean {
  return address.length === prefix.bytes.length && sameBytes(masked(address, prefix.length), prefix.bytes);
}

export function overlaps(a: Prefix, b: Prefix): boolean {
  return a.length <= b.length ? contains(a, b.bytes) : contains(b, a.bytes);
}

/** The address that lies `offset` behind the prefix's first one. */
export function addressAt(prefix: Prefix, offset: number): Uint8Array {
  const bytes = prefix.bytes.slice();
  let carry = offset;
  for (let i = bytes.length - 1; i >= 0 && carry > 0; i -= 1) {
    const sum = (bytes[i] ?? 0) + (carry % 256);
    bytes[i] = sum % 256;
    carry = Math.floor(carry / 256) + (sum > 255 ? 1 : 0);
  }
  return bytes;
}

/** How far an IPv4 address lies behind the prefix's first one. */
export function offsetIn(prefix: Prefix, address: Uint8Array): number {
  return ipv4Number(address) - ipv4Number(prefix.bytes);
}

/** 127.0.0.0/8, ::1, and IPv4's loopback mapped into IPv6. */
export function isLoopback(address: Uint8Array): boolean {
  if (address.length === 4) return address[0] === 127;
  const leading = address.subarray(0, 10).every((byte) => byte === 0);
  if (leading && address[10] === 0xff && address[11] === 0xff) return address[12] === 127;
  return address.subarray(0, 15).every((byte) => byte === 0) && address[15] === 1;
}

export function isUnspecified(address: Uint8Array): boolean {
  return address.every((byte) => byte === 0);
}

/** Six bytes of `02:42:ac:1d:00:02` (or with `-`), undefined for anything else and for multicast addresses. */
export function parseMac(text: string): Uint8Array | undefined {
  if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text)) return undefined;
  const bytes = Uint8Array.from(text.split(/[:-]/), (part) => Number.parseInt(part, 16));
  return ((bytes[0] ?? 1) & 1) === 0 ? bytes : undefined;
}

export function formatMac(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/**
 * A container's MAC follows from its IPv4 address, as Docker's long did: whoever gets the address next has the same MAC,
 * so no neighbour keeps a stale ARP entry.
 */
export function macOf(address: Uint8Array): Uint8Array {
  return Uint8Array.of(0x02, 0x42, ...address);
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

function parseIpv4(text: string): Uint8Array | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  const bytes = new Uint8Array(4);
  for (const [index, part] of parts.entries()) {
    // No leading zeros: some parsers read them as octal.
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    bytes[index] = Number(part);
  }
  return bytes;
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  // An embedded IPv4 address stands at the very end.
  const [head, tail] = halves.map((half, i) => (half === '' ? [] : groupsOf(half, i === halves.length - 1)));
  if (head === undefined) return undefined;
  if (halves.length === 1) return head.length === 16 ? Uint8Array.from(head) : undefined;
  if (tail === undefined || head.length + tail.length > 14) return undefined;
  const zeros = new Array<number>(16 - head.length - tail.length).fill(0);
  return Uint8Array.from([...head, ...zeros, ...tail]);
}

/** The bytes of colon-separated groups, the last of which may be IPv4; undefined if one is wrong. */
function groupsOf(text: string, isEnd: boolean): number[] | undefined {
  const bytes: number[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    if (/^[0-9a-f]{1,4}$/i.test(part)) {
      const value = Number.parseInt(part, 16);
      bytes.push(value >> 8, value & 255);
      continue;
    }
    const embedded = isEnd && index === parts.length - 1 ? parseIpv4(part) : undefined;
    if (embedded === undefined) return undefined;
    bytes.push(...embedded);
  }
  return bytes;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let i = 0; i < groups.length; i += 1) {
    let end = i;
    while (end < groups.length && groups[end] === 0) end += 1;
    if (end - i > best.length) best = { start: i, length: end - i };
    i = Math.max(i, end - 1);
  }
  return best;
}

/** The network that an address is in. */
export function subnetOf(address: Uint8Array, length: number): Prefix {
  return { bytes: masked(address, length), length };
}

function masked(bytes: Uint8Array, length: number): Uint8Array {
  return bytes.map((byte, index) => {
    const bits = Math.min(8, Math.max(0, length - index * 8));
    return byte & (0xff << (8 - bits)) & 0xff;
  });
}

function ipv4Number(bytes: Uint8Array): number {
  return bytes.reduce((value, byte) => value * 256 + byte, 0);
}
