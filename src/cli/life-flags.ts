import type { CreateOptions, HealthRequest } from '../engine/options.ts';
import { oneOf } from './container-flags.ts';
import { parseDuration, parseInteger } from './flag-values.ts';
import { FlagError, type Parsed } from './parse.ts';

type Restart = NonNullable<CreateOptions['restart']>;

const POLICIES: readonly Restart['policy'][] = ['no', 'on-failure', 'always', 'unless-stopped'];
const ACTIONS = ['none', 'kill', 'restart', 'stop'] as const;
const NS_PER_MS = 1e6;

/** What the flags say of when a container ends, and what happens then. */
export function lifeOf(
  parsed: Parsed,
): Pick<CreateOptions, 'restart' | 'healthcheck' | 'healthOnFailure' | 'lifetime'> {
  const restart = parsed.one('restart', parseRestart);
  if (parsed.bool('rm') && restart !== undefined && restart.policy !== 'no') {
    throw new FlagError('conflicting options: cannot specify both --restart and --rm');
  }
  const healthcheck = healthOf(parsed);
  const action = parsed.one('health-on-failure', oneOf(ACTIONS, 'unknown action'));
  if (parsed.bool('rm') && action === 'restart') {
    throw new FlagError('conflicting options: cannot specify both --health-on-failure=restart and --rm');
  }
  const lifetime = parsed.number('timeout');
  return {
    ...(restart === undefined || restart.policy === 'no' ? {} : { restart }),
    ...(healthcheck === undefined ? {} : { healthcheck }),
    ...(action === undefined || action === 'none' ? {} : { healthOnFailure: action }),
    ...(lifetime === undefined || lifetime === 0 ? {} : { lifetime }),
  };
}

/** `no`, `always`, `unless-stopped`, `on-failure[:N]`. @throws Error in Docker's words */
export function parseRestart(text: string): Restart {
  const [name = '', count, ...rest] = text.split(':');
  if (text === '') return { policy: 'no', max: 0 };
  if (name === '') throw new Error('invalid restart policy format: no policy provided before colon');
  if (rest.length > 0) throw new Error('invalid restart policy format');
  const policy = POLICIES.find((one) => one === name);
  if (policy === undefined) {
    throw new Error(
      `invalid restart policy: unknown policy '${name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
    );
  }
  if (count === undefined) return { policy, max: 0 };
  const max = retriesIn(count);
  if (max < 0) throw new Error('invalid restart policy: maximum retry count cannot be negative');
  if (max > 0 && policy !== 'on-failure') {
    throw new Error("invalid restart policy: maximum retry count can only be used with 'on-failure'");
  }
  return { policy, max };
}

function retriesIn(text: string): number {
  try {
    return parseInteger(text);
  } catch (cause) {
    throw new Error('invalid restart policy format: maximum retry count must be an integer', { cause });
  }
}

type Probing = Exclude<HealthRequest, { readonly off: true }>;

const TIMES = [
  ['interval', 'health-interval'],
  ['timeout', 'health-timeout'],
  ['startPeriod', 'health-start-period'],
  ['startInterval', 'health-start-interval'],
] as const;

function healthOf(parsed: Parsed): HealthRequest | undefined {
  const given: { -readonly [K in keyof Probing]: Probing[K] } = {};
  const command = parsed.string('health-cmd');
  if (command !== undefined && command !== '') given.command = command;
  for (const [key, long] of TIMES) {
    const ms = parsed.one(long, parseDuration);
    if (ms === undefined) continue;
    if (ms < 0) throw new FlagError(`--${long} cannot be negative`);
    if (ms > 0 && ms < 1) throw new FlagError(`--${long} cannot be less than 1ms`);
    given[key] = Math.round(ms * NS_PER_MS);
  }
  const retries = parsed.number('health-retries');
  if (retries !== undefined && retries < 0) throw new FlagError('--health-retries cannot be negative');
  if (retries !== undefined) given.retries = retries;
  const any = Object.keys(given).length > 0;
  if (!parsed.bool('no-healthcheck')) return any ? given : undefined;
  if (any) throw new FlagError('--no-healthcheck conflicts with --health-* options');
  return { off: true };
}
