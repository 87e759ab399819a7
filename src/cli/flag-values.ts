/**
 * The values of flags as Go's strconv and docker/go-units read them. They throw plain errors: the parser puts the flag's
 * name in front.
 */

const TRUE = new Set(['1', 't', 'T', 'TRUE', 'true', 'True']);
const FALSE = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False']);

export function parseBool(text: string): boolean {
  if (TRUE.has(text)) return true;
  if (FALSE.has(text)) return false;
  throw new Error(`strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`);
}

/** A whole number, also in hex, octal or binary with Go's prefixes. */
export function parseInteger(text: string): number {
  const match = /^([+-]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|[0-9]+)$/.exec(text);
  if (match === null) throw new Error(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
  const digits = match[2] ?? '';
  const value = Number(/^0[0-7]+$/.test(digits) ? `0o${digits.slice(1)}` : digits);
  if (!Number.isSafeInteger(value)) {
    throw new Error(`strconv.ParseInt: parsing ${JSON.stringify(text)}: value out of range`);
  }
  return match[1] === '-' ? -value : value;
}

/** A number such as `0.5`, `.5`, `1e-1` or, as Docker takes for --cpus, `1/2`. */
export function parseDecimal(text: string): number {
  const fraction = /^([0-9]+)\/([0-9]+)$/.exec(text);
  const value = fraction === null ? Number(text) : Number(fraction[1]) / Number(fraction[2]);
  if (text.trim() === '' || !Number.isFinite(value))
    throw new Error(`failed to parse ${text} as a rational number`);
  return value;
}

const BINARY: Readonly<Record<string, number>> = {
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
  t: 1024 ** 4,
  p: 1024 ** 5,
};

/**
 * Bytes with an optional binary unit: `512`, `64m`, `1.5GB`, `2 GiB`.
 * @see https://github.com/docker/go-units/blob/master/size.go (parseSize)
 */
export function parseBytes(text: string): number {
  const match = /^(.*[0-9. ])([^0-9. ]*)$/.exec(text);
  if (match === null) throw new Error(`invalid size: '${text}'`);
  const digits = (match[1] ?? '').replace(/ $/, '');
  const value = Number(digits);
  if (!/^[0-9]*\.?[0-9]*$/.test(digits) || digits === '' || digits === '.' || !Number.isFinite(value)) {
    throw new Error(`invalid size: '${text}'`);
  }
  const suffix = (match[2] ?? '').toLowerCase();
  if (suffix === '' || suffix === 'b') return Math.trunc(value);
  const unit = BINARY[suffix.slice(0, 1)];
  if (unit === undefined || !['', 'b', 'ib'].includes(suffix.slice(1)))
    throw new Error(`invalid suffix: '${suffix}'`);
  const bytes = Math.trunc(value * unit);
  if (!Number.isSafeInteger(bytes)) throw new Error(`invalid size: '${text}'`);
  return bytes;
}

/** As {@link parseBytes}, and -1 for no limit. */
export function parseBytesOrUnlimited(text: string): number {
  return text === '-1' ? -1 : parseBytes(text);
}

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Go's `1h30m`, `500ms`; milliseconds. */
export function parseDuration(text: string): number {
  const bad = new Error(`time: invalid duration ${JSON.stringify(text)}`);
  if (text === '0') return 0;
  const sign = text.startsWith('-') ? -1 : 1;
  const body = text.replace(/^[+-]/, '');
  if (!/^(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|ms|s|m|h))+$/.test(body)) throw bad;
  let total = 0;
  for (const [, amount, unit] of body.matchAll(/([0-9.]+)(ns|us|µs|ms|s|m|h)/g)) {
    total += Number(amount) * (UNIT_MS[unit ?? ''] ?? Number.NaN);
  }
  return sign * total;
}
