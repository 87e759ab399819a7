import { TinyrunError } from '../errors.ts';
import type { OptionSpec } from './command.ts';
import type { Parsed } from './parse.ts';

/** As podman has them. */
export const RETRY_OPTIONS: readonly OptionSpec[] = [
  {
    long: 'retry',
    type: 'int',
    value: 'times',
    help: 'How often a request to a registry is tried again, as long as it achieves nothing (default 4)',
  },
  {
    long: 'retry-delay',
    type: 'duration',
    help: 'Wait before the first of those; every further one is twice as long (default 500ms)',
  },
];

export function patienceOf(parsed: Parsed): { readonly retries?: number; readonly retryDelayMs?: number } {
  const [retries, retryDelayMs] = [parsed.number('retry'), parsed.number('retry-delay')];
  if ((retries ?? 0) < 0) throw new TinyrunError('invalid', '--retry: expected a number of times');
  return {
    ...(retries === undefined ? {} : { retries }),
    ...(retryDelayMs === undefined ? {} : { retryDelayMs }),
  };
}
