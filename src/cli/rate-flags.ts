import type { NetworkRates } from '../engine/options.ts';
import { parseRate, parseSize } from '../network/bandwidth-values.ts';
import type { Parsed } from './parse.ts';

export const RATE_FLAGS: readonly string[] = ['net-in-rate', 'net-out-rate', 'net-burst'];

/** What `--net-in-rate`, `--net-out-rate` and `--net-burst` say; undefined where none is given. */
export function ratesOf(parsed: Parsed): NetworkRates | undefined {
  const inward = parsed.one('net-in-rate', parseRate);
  const outward = parsed.one('net-out-rate', parseRate);
  const burst = parsed.one('net-burst', parseSize);
  if (inward === undefined && outward === undefined && burst === undefined) return undefined;
  return {
    ...(inward === undefined ? {} : { in: inward }),
    ...(outward === undefined ? {} : { out: outward }),
    ...(burst === undefined ? {} : { burst }),
  };
}
