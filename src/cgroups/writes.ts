import type { BlockIoResources, Resources } from '../oci/runtime-spec.ts';

/** One value into one file of a cgroup directory. */
export interface CgroupWrite {
  readonly controller: string;
  readonly file: string;
  readonly value: string;
  /** Go on where the kernel refuses: the value is a hint, as with Docker. */
  readonly optional?: boolean;
}

const UNLIMITED = -1;

/**
 * OCI resources → files of cgroup v2, in the order in which they must be written.
 * @see https://docs.kernel.org/admin-guide/cgroup-v2.html
 * @see https://github.com/containers/crun/blob/main/crun.1.md#cgroup-v2 for the conversions
 */
export function writesForV2(resources: Resources): readonly CgroupWrite[] {
  const writes: CgroupWrite[] = [];
  const put = (file: string, value: string | number): void => {
    writes.push({ controller: file.slice(0, file.indexOf('.')), file, value: String(value) });
  };
  const { memory, cpu, pids, blockIO, unified } = resources;
  if (memory?.limit !== undefined) put('memory.max', maxOr(memory.limit));
  if (memory?.swap !== undefined) {
    // v1 and OCI count memory plus swap; v2 counts swap alone.
    const swap =
      memory.swap === UNLIMITED ? UNLIMITED : Math.max(0, memory.swap - Math.max(0, memory.limit ?? 0));
    put('memory.swap.max', maxOr(swap));
  }
  if (memory?.reservation !== undefined) put('memory.low', maxOr(memory.reservation));
  if (cpu?.shares !== undefined) put('cpu.weight', weightOfShares(cpu.shares));
  if (cpu?.quota !== undefined || cpu?.period !== undefined) {
    const quota = cpu.quota === undefined || cpu.quota <= 0 ? 'max' : cpu.quota;
    put('cpu.max', `${quota} ${cpu.period ?? 100_000}`);
  }
  if (cpu?.cpus !== undefined) put('cpuset.cpus', cpu.cpus);
  if (cpu?.mems !== undefined) put('cpuset.mems', cpu.mems);
  if (pids !== undefined) put('pids.max', maxOr(pids.limit));
  if (blockIO !== undefined) writes.push(...ioForV2(blockIO));
  for (const [file, value] of Object.entries(unified ?? {})) put(file, value);
  return writes;
}

function ioForV2(io: BlockIoResources): readonly CgroupWrite[] {
  const writes: CgroupWrite[] = [];
  if (io.weight !== undefined) {
    // Which of the two exists depends on the I/O scheduler; neither is an error where there is none.
    writes.push({
      controller: 'io',
      file: 'io.weight',
      value: `default ${weightOfBlkio(io.weight)}`,
      optional: true,
    });
    writes.push({ controller: 'io', file: 'io.bfq.weight', value: `default ${io.weight}`, optional: true });
  }
  for (const { major, minor, weight } of io.weightDevice ?? []) {
    writes.push({
      controller: 'io',
      file: 'io.weight',
      value: `${major}:${minor} ${weightOfBlkio(weight)}`,
      optional: true,
    });
    writes.push({
      controller: 'io',
      file: 'io.bfq.weight',
      value: `${major}:${minor} ${weight}`,
      optional: true,
    });
  }
  const keys = [
    ['rbps', io.throttleReadBpsDevice],
    ['wbps', io.throttleWriteBpsDevice],
    ['riops', io.throttleReadIOPSDevice],
    ['wiops', io.throttleWriteIOPSDevice],
  ] as const;
  for (const [key, devices] of keys) {
    for (const { major, minor, rate } of devices ?? []) {
      writes.push({
        controller: 'io',
        file: 'io.max',
        value: `${major}:${minor} ${key}=${rate === 0 ? 'max' : rate}`,
      });
    }
  }
  return writes;
}

/**
 * OCI resources → files of the v1 controllers, in order: memory before memory+swap, because the one bounds the other.
 * @see https://docs.kernel.org/admin-guide/cgroup-v1/
 */
export function writesForV1(resources: Resources): readonly CgroupWrite[] {
  const writes: CgroupWrite[] = [];
  const put = (controller: string, file: string, value: string | number, optional = false): void => {
    writes.push({ controller, file, value: String(value), ...(optional ? { optional } : {}) });
  };
  const { memory, cpu, pids, blockIO } = resources;
  if (memory?.limit !== undefined) put('memory', 'memory.limit_in_bytes', memory.limit);
  if (memory?.swap !== undefined) put('memory', 'memory.memsw.limit_in_bytes', memory.swap);
  if (memory?.reservation !== undefined) put('memory', 'memory.soft_limit_in_bytes', memory.reservation);
  if (memory?.swappiness !== undefined) put('memory', 'memory.swappiness', memory.swappiness);
  if (memory?.disableOOMKiller === true) put('memory', 'memory.oom_control', 1);
  if (cpu?.shares !== undefined) put('cpu', 'cpu.shares', Math.max(2, cpu.shares));
  if (cpu?.period !== undefined) put('cpu', 'cpu.cfs_period_us', cpu.period);
  if (cpu?.quota !== undefined) put('cpu', 'cpu.cfs_quota_us', cpu.quota <= 0 ? -1 : cpu.quota);
  if (cpu?.realtimePeriod !== undefined) put('cpu', 'cpu.rt_period_us', cpu.realtimePeriod);
  if (cpu?.realtimeRuntime !== undefined) put('cpu', 'cpu.rt_runtime_us', cpu.realtimeRuntime);
  if (cpu?.cpus !== undefined) put('cpuset', 'cpuset.cpus', cpu.cpus);
  if (cpu?.mems !== undefined) put('cpuset', 'cpuset.mems', cpu.mems);
  if (pids !== undefined) put('pids', 'pids.max', maxOr(pids.limit));
  if (blockIO !== undefined) writes.push(...blkioForV1(blockIO));
  return writes;
}

function blkioForV1(io: BlockIoResources): readonly CgroupWrite[] {
  const writes: CgroupWrite[] = [];
  const put = (file: string, value: string | number, optional = false): void => {
    writes.push({ controller: 'blkio', file, value: String(value), ...(optional ? { optional } : {}) });
  };
  if (io.weight !== undefined) {
    put('blkio.weight', io.weight, true);
    put('blkio.bfq.weight', io.weight, true);
  }
  for (const { major, minor, weight } of io.weightDevice ?? []) {
    put('blkio.weight_device', `${major}:${minor} ${weight}`, true);
    put('blkio.bfq.weight_device', `${major}:${minor} ${weight}`, true);
  }
  const files = [
    ['blkio.throttle.read_bps_device', io.throttleReadBpsDevice],
    ['blkio.throttle.write_bps_device', io.throttleWriteBpsDevice],
    ['blkio.throttle.read_iops_device', io.throttleReadIOPSDevice],
    ['blkio.throttle.write_iops_device', io.throttleWriteIOPSDevice],
  ] as const;
  for (const [file, devices] of files) {
    for (const { major, minor, rate } of devices ?? []) put(file, `${major}:${minor} ${rate}`);
  }
  return writes;
}

function maxOr(value: number): string {
  return value < 0 ? 'max' : String(value);
}

/**
 * cpu.shares [2, 262144] → cpu.weight [1, 10000], so that 2 → 1, 1024 → 100 and 262144 → 10000: the curve that crun and
 * runc use today (a straight line would give the default of 1024 a weight of 39).
 */
export function weightOfShares(shares: number): number {
  if (shares <= 2) return 1;
  if (shares >= 262_144) return 10_000;
  const log = Math.log2(shares);
  return Math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34));
}

/** blkio.weight [10, 1000] → io.weight [1, 10000], a straight line as in crun's manual. */
export function weightOfBlkio(weight: number): number {
  return Math.floor(1 + ((weight - 10) * 9999) / 990);
}
