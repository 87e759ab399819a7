/** Now, as RFC 3339 in UTC with nine decimals, the form of all of tinyrun's records. */
export function timestamp(now: number = Date.now()): string {
  return new Date(now).toISOString().replace('Z', '000000Z');
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
  if (/^[0-9]+(\.[0-9]+)?$/.test(text)) return Number(text) * 1000;
  if (/^\d{4}-\d{2}-\d{2}/.test(text)) {
    // A date alone is local midnight in Docker; Date.parse would take it as UTC.
    const time = Date.parse(/^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00:00` : text);
    if (!Number.isNaN(time)) return time;
  }
  return now - parseDuration(text);
}
