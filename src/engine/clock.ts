import { utcSeconds } from '../disk/rfc3339.ts';

/** Now, as RFC 3339 in UTC with nine decimals, the form of all of tinyrun's records. */
export function timestamp(now: number = Date.now()): string {
  return `${utcSeconds(now / 1000)}.${String(Math.floor(now) % 1000).padStart(3, '0')}000000Z`;
}

/** Go's zero time, Docker's word for "never". */
export const NEVER = '0001-01-01T00:00:00Z';

/**
 * A time of `--since` or `--until`: RFC 3339 (also without zone: local, also only a date), Unix seconds with decimals, or a
 * Go duration before now (`10m`).
 * @param parseDuration milliseconds of a Go duration; throws where it is none
 * @returns milliseconds since 1970
 */
export function parseTime(text: string, now: number, parseDuration: (text: string) => number): number {
  const unix = /^([0-9]{1,11})(?:\.([0-9]{1,9}))?$/.exec(text);
  // Digits beyond the third are cut, not rounded: what was written at that very time is not before it.
  if (unix !== null) return Number(unix[1]) * 1000 + Number((unix[2] ?? '').padEnd(3, '0').slice(0, 3));
  const match = DATE.exec(text);
  if (match === null) return now - parseDuration(text);
  const [, date, hour = '00', minute = '00', second = '00', fraction = '', zone = ''] = match;
  // A date alone is local midnight in Docker; Date.parse would take it as UTC.
  const time = Date.parse(`${date}T${hour}:${minute}:${second}${fraction}${zone}`);
  if (Number.isNaN(time))
    throw new Error(`failed to parse value as time or duration: ${JSON.stringify(text)}`);
  return time;
}

/** Every part but the date may be missing. */
const DATE = /^(\d{4}-\d{2}-\d{2})(?:T(\d{2})(?::(\d{2})(?::(\d{2})(\.\d{1,9})?)?)?)?(Z|[+-]\d{2}:\d{2})?$/;
