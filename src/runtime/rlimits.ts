import { TinyrunError } from '../errors.ts';
import type { Rlimit } from '../oci/runtime-spec.ts';

/** RLIM_INFINITY as config.json has it; see `specText()` for how it survives JSON. */
export const UNLIMITED = 2 ** 64;

/** `--ulimit` names, and how /proc/PID/limits calls them. */
const LIMITS: readonly (readonly [name: string, label: string])[] = [
  ['core', 'Max core file size'],
  ['cpu', 'Max cpu time'],
  ['data', 'Max data size'],
  ['fsize', 'Max file size'],
  ['locks', 'Max file locks'],
  ['memlock', 'Max locked memory'],
  ['msgqueue', 'Max msgqueue size'],
  ['nice', 'Max nice priority'],
  ['nofile', 'Max open files'],
  ['nproc', 'Max processes'],
  ['rss', 'Max resident set'],
  ['rtprio', 'Max realtime priority'],
  ['rttime', 'Max realtime timeout'],
  ['sigpending', 'Max pending signals'],
  ['stack', 'Max stack size'],
];

/** What a login has on every distribution. Node raises its own soft limit to the hard one, which must not be inherited. */
const SOFT_NOFILE = 1024;

export interface UlimitRequest {
  readonly name: string;
  /** -1: unlimited. */
  readonly soft: number;
  readonly hard: number;
}

/**
 * `--ulimit` as rlimits of the spec, with the host's open-files default added as Docker (29 and later) gives it.
 * @param host the limits of this process, see `limitsFromProc()`; empty: not known, nothing is checked
 * @param canRaise whether we hold CAP_SYS_RESOURCE
 * @throws TinyrunError `invalid` for an unknown name or a soft limit above the hard one, `denied` where the host's hard limit
 * is in the way of what the user asked for
 */
export function rlimitsOf(
  requests: readonly UlimitRequest[],
  host: readonly Rlimit[],
  canRaise: boolean,
): Rlimit[] {
  const limits = new Map<string, Rlimit>();
  const nofile = host.find((limit) => limit.type === 'RLIMIT_NOFILE');
  if (nofile !== undefined) {
    limits.set(nofile.type, {
      type: nofile.type,
      soft: Math.min(SOFT_NOFILE, nofile.hard),
      hard: nofile.hard,
    });
  }
  for (const request of requests) {
    const limit = rlimitOf(request);
    const own = host.find((candidate) => candidate.type === limit.type);
    if (own !== undefined && limit.hard > own.hard && !canRaise) {
      throw new TinyrunError(
        'denied',
        `Cannot set ulimit "${request.name}" to ${show(limit.hard)}: the hard limit here is ${show(own.hard)}, raising it needs CAP_SYS_RESOURCE`,
      );
    }
    limits.set(limit.type, limit);
  }
  return [...limits.values()];
}

function rlimitOf(request: UlimitRequest): Rlimit {
  const known = LIMITS.some(([name]) => name === request.name);
  if (!known) throw new TinyrunError('invalid', `invalid ulimit type: ${request.name}`);
  const soft = request.soft === -1 ? UNLIMITED : request.soft;
  const hard = request.hard === -1 ? UNLIMITED : request.hard;
  if (soft > hard) {
    throw new TinyrunError(
      'invalid',
      `ulimit soft limit must be less than or equal to hard limit: ${request.soft} > ${request.hard}`,
    );
  }
  return { type: `RLIMIT_${request.name.toUpperCase()}`, soft, hard };
}

function show(limit: number): string {
  return limit >= UNLIMITED ? 'unlimited' : String(limit);
}

/** The text of /proc/PID/limits as rlimits. */
export function limitsFromProc(text: string): Rlimit[] {
  const lines = text.split('\n');
  return LIMITS.flatMap(([name, label]) => {
    const line = lines.find((candidate) => candidate.startsWith(label));
    const [soft, hard] = line?.slice(label.length).trim().split(/\s+/) ?? [];
    if (soft === undefined || hard === undefined) return [];
    return [{ type: `RLIMIT_${name.toUpperCase()}`, soft: numberOf(soft), hard: numberOf(hard) }];
  });
}

function numberOf(text: string): number {
  return text === 'unlimited' ? UNLIMITED : Number(text);
}

/** A limit of the spec as the kernel takes it. */
export function kernelLimit(limit: number): bigint {
  return limit >= UNLIMITED ? 0xffffffffffffffffn : BigInt(limit);
}
