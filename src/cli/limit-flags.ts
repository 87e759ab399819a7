import type { DeviceRate, Limits } from '../engine/options.ts';
import { keyValues } from './env-file.ts';
import { parseBytes, parseBytesOrUnlimited } from './flag-values.ts';
import { FlagError, type Parsed } from './parse.ts';

/** The resource flags; what is out of the kernel's range is for src/cgroups to say. */
export function limitsOf(parsed: Parsed): Limits {
  const limits: { -readonly [K in keyof Limits]: Limits[K] } = {};
  for (const [key, long] of NUMBERS) {
    const value = parsed.number(long);
    if (value !== undefined) limits[key] = value;
  }
  for (const [key, long] of TEXTS) {
    const value = parsed.string(long);
    if (value !== undefined && value !== '') limits[key] = value;
  }
  const swap = parsed.one('memory-swap', parseBytesOrUnlimited);
  if (swap !== undefined) limits.memorySwap = swap;
  if (parsed.bool('oom-group')) limits.oomGroup = true;
  if (parsed.bool('oom-kill-disable')) limits.oomKillDisable = true;
  if (parsed.has('blkio-weight-device')) {
    limits.blkioWeightDevice = parsed.each('blkio-weight-device', deviceWeight);
  }
  for (const [key, long, parse] of RATES) {
    if (parsed.has(long)) limits[key] = parsed.each(long, parse);
  }
  const conf = parsed.list('cgroup-conf');
  for (const text of conf) {
    if (!/^[a-z0-9_.]+=./.test(text))
      throw new FlagError(`invalid argument "${text}" for "--cgroup-conf" flag: expected FILE=VALUE`);
  }
  if (conf.length > 0) limits.cgroupConf = keyValues(conf);
  return limits;
}

type Keyed<T> = {
  [K in keyof Limits]-?: NonNullable<Limits[K]> extends T
    ? T extends NonNullable<Limits[K]>
      ? K
      : never
    : never;
}[keyof Limits];

const NUMBERS: readonly (readonly [Keyed<number>, string])[] = [
  ['memory', 'memory'],
  ['memoryReservation', 'memory-reservation'],
  ['memorySwappiness', 'memory-swappiness'],
  ['memoryHigh', 'memory-high'],
  ['oomScoreAdj', 'oom-score-adj'],
  ['cpus', 'cpus'],
  ['cpuShares', 'cpu-shares'],
  ['cpuQuota', 'cpu-quota'],
  ['cpuPeriod', 'cpu-period'],
  ['cpuRtRuntime', 'cpu-rt-runtime'],
  ['cpuRtPeriod', 'cpu-rt-period'],
  ['pidsLimit', 'pids-limit'],
  ['blkioWeight', 'blkio-weight'],
];

const TEXTS: readonly (readonly [Keyed<string>, string])[] = [
  ['cpusetCpus', 'cpuset-cpus'],
  ['cpusetMems', 'cpuset-mems'],
  ['cgroupParent', 'cgroup-parent'],
];

const RATES = [
  ['deviceReadBps', 'device-read-bps', byteRate],
  ['deviceWriteBps', 'device-write-bps', byteRate],
  ['deviceReadIops', 'device-read-iops', operationRate],
  ['deviceWriteIops', 'device-write-iops', operationRate],
] as const;

function deviceWeight(text: string): { path: string; weight: number } {
  const { path, rest } = devicePath(text);
  const weight = Number(rest);
  if (!/^[0-9]+$/.test(rest) || (weight !== 0 && (weight < 10 || weight > 1000))) {
    throw new Error(`invalid weight for device: ${text}`);
  }
  return { path, weight };
}

function byteRate(text: string): DeviceRate {
  const { path, rest } = devicePath(text);
  try {
    return { path, rate: parseBytes(rest) };
  } catch (cause) {
    throw new Error(
      `invalid rate for device: ${text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb`,
      { cause },
    );
  }
}

function operationRate(text: string): DeviceRate {
  const { path, rest } = devicePath(text);
  if (!/^[0-9]{1,15}$/.test(rest)) {
    throw new Error(
      `invalid rate for device: ${text}. The correct format is <device-path>:<number>. Number must be a positive integer`,
    );
  }
  return { path, rate: Number(rest) };
}

function devicePath(text: string): { path: string; rest: string } {
  const colon = text.indexOf(':');
  if (colon < 0) throw new Error(`bad format: ${text}`);
  const path = text.slice(0, colon);
  if (!path.startsWith('/dev/')) throw new Error(`bad format for device path: ${text}`);
  return { path, rest: text.slice(colon + 1) };
}
