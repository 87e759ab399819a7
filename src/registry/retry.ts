import { registryErrorIn } from './errors.ts';

/** All times in milliseconds. */
export interface RetryPolicy {
  /** Tries in a row without progress; at least 1. */
  readonly attempts: number;
  /** The first wait; doubles every time, and a random part of it is left out so that clients do not march in step. */
  readonly base: number;
  readonly longest: number;
  /** A server that asks for more than this is not waited for: the error says when to come back. */
  readonly longestRetryAfter: number;
}

export const DEFAULT_RETRY: RetryPolicy = {
  attempts: 5,
  base: 500,
  longest: 10_000,
  longestRetryAfter: 60_000,
};

export interface RetryWatch {
  readonly signal?: AbortSignal | undefined;
  /** Told before each wait. */
  readonly onRetry?: (milliseconds: number, error: Error) => void;
  /** A number that grows with what has been achieved, such as the furthest byte: when it grew, the count starts anew. */
  readonly progress?: () => number;
}

/**
 * Calls `attempt` until it succeeds, the error is one that repeating cannot cure, or the policy is used up; then throws
 * the last error. Only errors that carry a RegistryError in their chain of causes are repeated.
 */
export async function retrying<T>(
  attempt: (n: number) => Promise<T>,
  policy: RetryPolicy,
  watch: RetryWatch = {},
): Promise<T> {
  let failures = 0;
  let furthest = watch.progress?.() ?? 0;
  let wasCorrupt = false;
  for (let n = 1; ; n++) {
    watch.signal?.throwIfAborted();
    try {
      return await attempt(n);
    } catch (error) {
      const cause = registryErrorIn(error);
      if (!(error instanceof Error) || cause === undefined || cause.retry === 'never') throw error;
      if (cause.retry === 'once' && wasCorrupt) throw error;
      wasCorrupt ||= cause.retry === 'once';
      const reached = watch.progress?.() ?? 0;
      failures = reached > furthest ? 1 : failures + 1;
      furthest = Math.max(furthest, reached);
      const asked = cause.retryAfter ?? 0;
      if (failures >= policy.attempts || asked > policy.longestRetryAfter) throw error;
      const wait = Math.max(asked, backOff(failures, policy));
      watch.onRetry?.(wait, error);
      await sleep(wait, watch.signal);
    }
  }
}

/** Between half of the step and all of it. */
function backOff(failures: number, policy: RetryPolicy): number {
  const step = Math.min(policy.longest, policy.base * 2 ** (failures - 1));
  return Math.round(step * (0.5 + Math.random() / 2));
}

function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', aborted);
      resolve();
    }, milliseconds);
    signal?.addEventListener('abort', aborted, { once: true });
  });
}
