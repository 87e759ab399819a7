import { TinyrunError } from '../errors.ts';
import type { Container, ContainerRecord } from './containers.ts';
import { isUp, readText } from './containers.ts';
import type { Core } from './core.ts';

/** health.json, which the monitor writes: see native/health.c. */
export interface HealthRecord {
  readonly status: 'starting' | 'healthy' | 'unhealthy';
  readonly failingStreak: number;
  /** The last five, the youngest at the end. Times as RFC 3339, -1: it did not end by itself. */
  readonly log: readonly {
    readonly start: string;
    readonly end: string;
    readonly exitCode: number;
    readonly output: string;
  }[];
}

/** What is run how often; times in ms. */
export interface HealthCheck {
  readonly args: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly retries: number;
  readonly startPeriodMs: number;
  readonly startIntervalMs: number;
}

const DEFAULT_INTERVAL_MS = 30_000;
const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_START_INTERVAL_MS = 5000;
const DEFAULT_RETRIES = 3;
const NS = 1e6;

/**
 * The health check of a container, from its flags and its image; undefined where it has none.
 * @see https://docs.docker.com/reference/dockerfile/#healthcheck
 */
export function healthCheckOf({ image, options }: ContainerRecord): HealthCheck | undefined {
  const asked = options.healthcheck;
  if (asked?.off === true) return undefined;
  const own = image.config.Healthcheck;
  const args =
    asked?.command === undefined
      ? argumentsOf(own?.Test ?? [], image.config.Shell)
      : [...(image.config.Shell ?? SHELL), asked.command];
  if (args === undefined) return undefined;
  const ms = (flag: number | undefined, ofImage: number | undefined, byDefault: number): number => {
    const ns = flag === undefined || flag === 0 ? (ofImage ?? 0) : flag;
    return ns <= 0 ? byDefault : Math.max(1, Math.round(ns / NS));
  };
  return {
    args,
    intervalMs: ms(asked?.interval, own?.Interval, DEFAULT_INTERVAL_MS),
    timeoutMs: ms(asked?.timeout, own?.Timeout, DEFAULT_TIMEOUT_MS),
    retries: asked?.retries || own?.Retries || DEFAULT_RETRIES,
    startPeriodMs: ms(asked?.startPeriod, own?.StartPeriod, 0),
    startIntervalMs: ms(asked?.startInterval, own?.StartInterval, DEFAULT_START_INTERVAL_MS),
  };
}

const SHELL: readonly string[] = ['/bin/sh', '-c'];

function argumentsOf([kind, ...words]: readonly string[], shell = SHELL): readonly string[] | undefined {
  if (words.length === 0) return undefined;
  if (kind === 'CMD') return words;
  return kind === 'CMD-SHELL' ? [...shell, ...words.slice(0, 1)] : undefined;
}

/** What `ps` and `inspect` show: undefined without a health check. One that does not run is not healthy, as with Docker. */
export function readHealth(core: Core, container: Container): HealthRecord | undefined {
  const { id, record, status } = container;
  if (status === 'created' || healthCheckOf(record) === undefined) return undefined;
  const found = parseHealth(readText(core.paths.health(id)));
  if (!isUp(status)) return { ...found, status: 'unhealthy' };
  return status === 'restarting' ? { ...found, status: 'starting' } : found;
}

const STARTING: HealthRecord = { status: 'starting', failingStreak: 0, log: [] };

/** @throws TinyrunError `internal` for what the monitor cannot have written */
function parseHealth(text: string | undefined): HealthRecord {
  if (text === undefined) return STARTING;
  const value: unknown = JSON.parse(text);
  if (typeof value === 'object' && value !== null && 'status' in value && 'log' in value) {
    return value as HealthRecord;
  }
  throw new TinyrunError('internal', 'not a health record');
}
