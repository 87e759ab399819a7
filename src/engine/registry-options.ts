import { join } from 'node:path';
import type { Core } from './core.ts';

/** Milliseconds; what setTimeout() can hold. */
const LONGEST_TIMER = 2 ** 31;

/**
 * How this engine reaches registries.
 *
 * TINYRUN_STALL_SECONDS (default 30) is how long a registry may be silent before the request is tried again: more for a
 * slow line, less for tests.
 */
export function registryOptions(
  core: Core,
  signal?: AbortSignal,
): { env: Core['env']; dockerConfigDir: string; stallMs?: number; signal?: AbortSignal } {
  const stallMs = Number(core.env.TINYRUN_STALL_SECONDS ?? Number.NaN) * 1000;
  return {
    env: core.env,
    dockerConfigDir: core.env.DOCKER_CONFIG || join(core.env.HOME ?? '/root', '.docker'),
    ...(stallMs > 0 && stallMs < LONGEST_TIMER ? { stallMs } : {}),
    ...(signal === undefined ? {} : { signal }),
  };
}
