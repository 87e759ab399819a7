/**
 * Values as Go's strconv and time and docker/go-units read them: of flags, of Dockerfiles, of compose files. They throw
 * plain errors: the caller puts the name of what it read in front.
 */

const TRUE = new Set(['1', 't', 'T', 'TRUE', 'true', 'True']);
const FALSE = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False']);

export function parseBool(text: string): boolean {
  if (TRUE.has(text)) return true;
  if (FALSE.has(text)) return false;
  throw new Error(`strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`);
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
