import { TinyrunError } from '../errors.ts';

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

/**
 * `max-size` and `max-file` of the json-file log. @returns bytes of one file, 0 for no limit, and how many files are kept
 * @throws TinyrunError `invalid`
 */
export function logLimits(options: Readonly<Record<string, string>>): { maxBytes: number; maxFiles: number } {
  const size = options['max-size'] ?? '-1';
  const files = options['max-file'] ?? '1';
  if (!/^[1-9][0-9]{0,4}$/.test(files)) {
    throw new TinyrunError('invalid', `Cannot use log option max-file "${files}": expected a number from 1`);
  }
  return { maxBytes: size === '-1' ? 0 : bytesOf(size), maxFiles: Number(files) };
}

function bytesOf(text: string): number {
  const match = /^([0-9]+(?:\.[0-9]+)?) ?([kmg]?)(?:i?b)?$/i.exec(text);
  const bytes = Math.trunc(Number(match?.[1]) * (UNITS[(match?.[2] ?? '').toLowerCase()] ?? Number.NaN));
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new TinyrunError('invalid', `Cannot use log option max-size "${text}": expected a size, such as 10m`);
}
