const V4 = /^(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.(?!$)|$)){4}$/;
const GROUP = /^[0-9a-fA-F]{1,4}$/;

/** 4 or 6 for an address, 0 for anything else. As `isIP` of node:net, which would cost the start of a container 2 ms. */
export function ipVersion(text: string): 0 | 4 | 6 {
  if (V4.test(text)) return 4;
  return isV6(text) ? 6 : 0;
}

function isV6(text: string): boolean {
  const halves = text.split('::');
  if (halves.length > 2 || !text.includes(':')) return false;
  const groups = halves.flatMap((half) => (half === '' ? [] : half.split(':')));
  // The last 32 bits may be written as an IPv4 address.
  const hasV4 = !text.endsWith(':') && V4.test(groups.at(-1) ?? '');
  const plain = hasV4 ? groups.slice(0, -1) : groups;
  const count = plain.length + (hasV4 ? 2 : 0);
  if (!plain.every((group) => GROUP.test(group))) return false;
  return halves.length === 2 ? count < 8 : count === 8;
}
