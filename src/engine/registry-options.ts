import { join } from 'node:path';
import type { RetryPolicy } from '../registry/retry.ts';
import type { Core } from './core.ts';

/** Milliseconds; what setTimeout() can hold. */
const LONGEST_TIMER = 2 ** 31;

/** How patient a command is with a registry. */
export interface Patience {
  /** Times that a failed request is tried again, as long as nothing is achieved; default 4. */
  readonly retries?: number;
  /** Milliseconds before the first of them; each further wait is twice as long. */
  readonly retryDelayMs?: number;
}

/** Milliseconds; a wait does not grow beyond. */
const LONGEST_WAIT = 10_000;

export function retryOptions({ retries, retryDelayMs }: Patience): { retry?: Partial<RetryPolicy> } {
  const retry = {
    ...(retries === undefined ? {} : { attempts: retries + 1 }),
    ...(retryDelayMs === undefined
      ? {}
      : { base: retryDelayMs, longest: Math.max(LONGEST_WAIT, retryDelayMs) }),
  };
  return Object.keys(retry).length === 0 ? {} : { retry };
}

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
