const SECOND = 1000;
const HOUR = 3_600_000;

/**
 * How long, in words: `Less than a second`, `About a minute`, `3 weeks`.
 * @param milliseconds a length of time; negative ones count as none
 * @see https://github.com/docker/go-units/blob/master/duration.go
 */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.trunc(milliseconds / SECOND);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.trunc(seconds / 60);
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.trunc(milliseconds / HOUR + 0.5);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  const days = Math.trunc(hours / 24);
  if (hours < 24 * 7 * 2) return `${days} days`;
  if (hours < 24 * 30 * 2) return `${Math.trunc(days / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.trunc(days / 30)} months`;
  return `${Math.trunc(Math.trunc(milliseconds / HOUR) / 24 / 365)} years`;
}

/** `2 hours ago`; the empty string for a time that is not known (Go's zero time). */
export function ago(time: string | undefined, now: number): string {
  if (time === undefined || time.startsWith('0001-')) return '';
  const then = Date.parse(time);
  return Number.isNaN(then) ? '' : `${humanDuration(now - then)} ago`;
}
