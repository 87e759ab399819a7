import { bytesOf, logLimits } from './log-plan.ts';
import type { CreateOptions } from './options.ts';

/** What every entry of a log is given: chosen labels and variables of the container, and a tag. */
export const ATTRIBUTE_OPTIONS: ReadonlySet<string> = new Set([
  'labels',
  'labels-regex',
  'env',
  'env-regex',
  'tag',
]);

const COMMON: readonly string[] = ['mode', 'max-buffer-size'];
const FILE: readonly string[] = ['max-size', 'max-file', 'compress'];

/** The options that a driver has. */
const OPTIONS: Readonly<Record<CreateOptions['logDriver'], readonly string[]>> = {
  'json-file': [...FILE, ...ATTRIBUTE_OPTIONS, ...COMMON],
  local: [...FILE, ...COMMON],
  journald: [...ATTRIBUTE_OPTIONS, ...COMMON],
  none: [],
};

/** @throws Error for an option that the driver does not have or that cannot be, in Docker's words */
export function checkLogOption(driver: CreateOptions['logDriver'], key: string, value: string): void {
  if (!OPTIONS[driver].includes(key)) throw new Error(`unknown log opt '${key}' for ${driver} log driver`);
  switch (key) {
    case 'max-size':
      if (value !== '-1') bytesOf(value);
      break;
    case 'max-file':
      logLimits({ 'max-file': value });
      break;
    case 'compress':
      if (value !== 'false') throw new Error('rotated files are not compressed, expected false');
      break;
    case 'mode':
      if (value !== 'blocking') throw new Error(`logging mode ${value} is not supported, expected blocking`);
      break;
    case 'max-buffer-size':
      throw new Error("max-buffer-size option is only supported with 'mode=non-blocking'");
    case 'labels-regex':
    case 'env-regex':
      new RegExp(value);
  }
}
