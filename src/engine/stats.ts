import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CgroupHost, hostCgroups } from '../cgroups/host.ts';
import { type Pressure, type PressureOf, readPressure } from '../cgroups/pressure.ts';
import { type ContainerCgroup, cgroupOf } from './container-cgroup.ts';
import type { Container } from './containers.ts';
import type { Core } from './core.ts';
import { findContainer, listContainers } from './query.ts';

/** What a container uses. Bytes; sums since its start. */
export interface Usage {
  /** Nanoseconds of processor time. */
  readonly cpu: number;
  /** Without what the kernel would drop first (inactive files), as Docker counts it. */
  readonly memory: number;
  /** Of the container, or the memory of the machine. */
  readonly memoryLimit: number;
  /** The most it has ever used, caches included; absent before Linux 5.19 on v2. */
  readonly memoryPeak?: number;
  readonly received: number;
  readonly sent: number;
  readonly read: number;
  readonly written: number;
  readonly pids: number;
  /** What it waits for; empty where the kernel does not say. */
  readonly pressure: Readonly<Partial<Record<PressureOf, Pressure>>>;
}

export interface Stats {
  readonly container: Container;
  /** Of one processor; 200 are two. */
  readonly cpuPercent: number;
  /** Undefined: it does not run. */
  readonly usage?: Usage;
}

export interface StatsHow {
  /** Names and ids; none: all. */
  readonly containers?: readonly string[];
  /** With none named: also those that do not run. */
  readonly all?: boolean;
  readonly signal?: AbortSignal;
}

const INTERVAL_MS = 1000;

/**
 * Once a second what containers use; the first after a second, because a percentage needs two looks. Ends with `signal`,
 * or when none of those that were named is left.
 * @throws TinyrunError `not_found` for a name that nobody has at the beginning
 */
export async function* readStats(core: Core, how: StatsHow = {}): AsyncGenerator<readonly Stats[]> {
  const { signal } = how;
  const named = await Promise.all((how.containers ?? []).map((text) => findContainer(core, text)));
  const ids = new Set(named.map(({ id }) => id));
  let before = new Map<string, Look>();
  for (let first = true; signal?.aborted !== true; first = false) {
    const containers = (await listContainers(core)).filter(({ id, status }) =>
      ids.size > 0 ? ids.has(id) : how.all === true || status === 'running',
    );
    if (ids.size > 0 && containers.length === 0) return;
    const host = hostCgroups();
    const now = new Map(containers.map((one) => [one.id, lookAt(core, one, host)]));
    if (!first) yield containers.map((container) => statsOf(container, before, now));
    before = now;
    await sleep(INTERVAL_MS, undefined, signal === undefined ? {} : { signal }).catch(() => {});
  }
}

interface Look {
  /** Milliseconds of a clock that does not jump. */
  readonly at: number;
  readonly usage?: Usage;
}

function statsOf(
  container: Container,
  before: ReadonlyMap<string, Look>,
  now: ReadonlyMap<string, Look>,
): Stats {
  const [old, current] = [before.get(container.id), now.get(container.id)];
  if (current?.usage === undefined) return { container, cpuPercent: 0 };
  return { container, cpuPercent: cpuPercent(old, current), usage: current.usage };
}

/** A container that was started meanwhile begins at 0. */
export function cpuPercent(old: Look | undefined, current: Look): number {
  if (old?.usage === undefined || current.usage === undefined || current.at <= old.at) return 0;
  const used = (current.usage.cpu - old.usage.cpu) / 1e6;
  return (Math.max(0, used) / (current.at - old.at)) * 100;
}

function lookAt(core: Core, container: Container, host: CgroupHost): Look {
  const at = performance.now();
  if (container.status !== 'running' || container.state === undefined) return { at };
  const { mode } = container.record.options.network;
  const network = mode.type === 'host' ? '' : textOf(`/proc/${container.state.pid}/net/dev`);
  return { at, usage: usageOf(cgroupOf(core, container.record, host), network) };
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // It has ended meanwhile.
    return '';
  }
}

/** @param network text of the container's /proc/net/dev */
export function usageOf({ host, directories }: ContainerCgroup, network: string): Usage {
  const read = (controller: string, file: string): string => {
    const directory = host.version === 'v2' ? directories.unified : directories[controller];
    return directory === undefined ? '' : (host.read(`${directory}/${file}`) ?? '');
  };
  const number = (controller: string, file: string): number => Number(read(controller, file)) || 0;
  const total = (field(host.read('/proc/meminfo') ?? '', 'MemTotal:') ?? 0) * 1024;
  const { received, sent } = networkBytes(network);
  const peak = number('memory', host.version === 'v2' ? 'memory.peak' : 'memory.max_usage_in_bytes');
  const common = {
    received,
    sent,
    pids: number('pids', 'pids.current'),
    pressure: directories.unified === undefined ? {} : readPressure(directories.unified, host.read),
    ...(peak === 0 ? {} : { memoryPeak: peak }),
  };
  if (host.version === 'v2') {
    const inactive = field(read('memory', 'memory.stat'), 'inactive_file') ?? 0;
    return {
      ...common,
      cpu: (field(read('cpu', 'cpu.stat'), 'usage_usec') ?? 0) * 1000,
      memory: Math.max(0, number('memory', 'memory.current') - inactive),
      memoryLimit: Math.min(number('memory', 'memory.max') || total, total),
      ...ioBytes(read('io', 'io.stat')),
    };
  }
  const inactive = field(read('memory', 'memory.stat'), 'total_inactive_file') ?? 0;
  return {
    ...common,
    cpu: number('cpuacct', 'cpuacct.usage'),
    memory: Math.max(0, number('memory', 'memory.usage_in_bytes') - inactive),
    memoryLimit: Math.min(number('memory', 'memory.limit_in_bytes') || total, total),
    ...blkioBytes(
      read('blkio', 'blkio.throttle.io_service_bytes_recursive') ||
        read('blkio', 'blkio.throttle.io_service_bytes'),
    ),
  };
}

/** The number behind a key at the beginning of a line. */
function field(text: string, key: string): number | undefined {
  for (const line of text.split('\n')) {
    const [name, value] = line.split(/\s+/);
    if (name === key) return Number(value);
  }
  return undefined;
}

/** All interfaces of /proc/net/dev but loopback. */
export function networkBytes(text: string): { received: number; sent: number } {
  let received = 0;
  let sent = 0;
  for (const line of text.split('\n')) {
    const match = /^\s*([^\s:]+):\s*(.*)$/.exec(line);
    if (match === null || match[1] === 'lo') continue;
    const columns = (match[2] ?? '').split(/\s+/).map(Number);
    received += columns[0] ?? 0;
    sent += columns[8] ?? 0;
  }
  return { received, sent };
}

/** io.stat of cgroup v2: `8:0 rbytes=1 wbytes=2 …`. */
function ioBytes(text: string): { read: number; written: number } {
  const sum = (key: string): number =>
    [...text.matchAll(new RegExp(`\\b${key}=(\\d+)`, 'g'))].reduce((total, [, n]) => total + Number(n), 0);
  return { read: sum('rbytes'), written: sum('wbytes') };
}

/** blkio of cgroup v1: `8:0 Read 1`. */
function blkioBytes(text: string): { read: number; written: number } {
  const sum = (key: string): number =>
    [...text.matchAll(new RegExp(`^\\d+:\\d+ ${key} (\\d+)$`, 'gm'))].reduce(
      (total, [, n]) => total + Number(n),
      0,
    );
  return { read: sum('Read'), written: sum('Write') };
}
