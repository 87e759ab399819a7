/** Rates and sizes as people write them. They throw plain errors: the caller says of what. */

/** Bits a second, as `tc` has them; with `bps` bytes a second. */
const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12 };
const BINARY: Readonly<Record<string, number>> = { ki: 2 ** 10, mi: 2 ** 20, gi: 2 ** 30, ti: 2 ** 40 };

/** Bytes a second: a packet in one and a half; a terabit. */
const RATE = { min: 1000, max: 1.25e11 } as const;
const SIZE = { min: 2048, max: 2 ** 30 } as const;

/** `10mbit`, `1.5gbit`, `800kbps` (bytes), a plain number of bits. @returns bytes a second; 0 for `0` and `unlimited` */
export function parseRate(value: string): number {
  const lower = value.trim().toLowerCase();
  if (lower === 'unlimited') return 0;
  const match = /^([0-9]{1,15}(?:\.[0-9]{1,6})?)(?:([kmgt]i?)?(bit|bps))?$/.exec(lower);
  if (match === null) {
    throw new Error(
      `invalid rate ${JSON.stringify(value)}: expected such as 10mbit, 1gbit (bits) or 800kbps (bytes), or unlimited`,
    );
  }
  const prefix = match[2] ?? '';
  const factor = UNITS[prefix] ?? BINARY[prefix] ?? 1;
  const rate = (Number(match[1]) * factor) / (match[3] === 'bps' ? 1 : 8);
  if (rate === 0 || (rate >= RATE.min && rate <= RATE.max)) return rate;
  throw new Error(`invalid rate ${JSON.stringify(value)}: it must be between 8kbit and 1tbit`);
}

/** Bytes, with `k`, `m` or `g` in powers of 1024. @returns 0 for `0`: whatever suits the rate */
export function parseSize(value: string): number {
  const match = /^([0-9]{1,15})([kmg]?)(?:i?b)?$/.exec(value.trim().toLowerCase());
  const size =
    match === null ? Number.NaN : Number(match[1]) * 1024 ** ['', 'k', 'm', 'g'].indexOf(match[2] ?? '');
  if (size === 0 || (size >= SIZE.min && size <= SIZE.max)) return size;
  throw new Error(`invalid size ${JSON.stringify(value)}: expected bytes between 2k and 1g, such as 64k`);
}
