/**
 * The values of flags as Go's strconv and docker/go-units read them. They throw plain errors: the parser puts the flag's
 * name in front.
 */
import { parseBytes } from '../oci/go-values.ts';

export { parseBool, parseBytes, parseDuration } from '../oci/go-values.ts';

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

/** As {@link parseBytes}, and -1 for no limit. */
export function parseBytesOrUnlimited(text: string): number {
  return text === '-1' ? -1 : parseBytes(text);
}
