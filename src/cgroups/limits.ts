import type { DeviceRate, Limits } from '../engine/options.ts';
import { TinyrunError } from '../errors.ts';
import type { Resources, ThrottleDevice } from '../oci/runtime-spec.ts';
import type { CgroupHost } from './host.ts';
import { parseCpuList } from './lists.ts';

/** What the checks need to know of the machine besides its cgroups. */
export interface Machine {
  /** How many CPUs there are. */
  readonly cpus: number;
  /** `0-3`, the CPUs and the memory nodes that may be used. */
  readonly cpuList: string;
  readonly memList: string;
  /** The device number of a block device node; undefined where it is none. */
  device(path: string): { readonly major: number; readonly minor: number } | undefined;
}

export interface Translated {
  readonly resources: Resources;
  /** What Docker, too, only warns about. */
  readonly warnings: readonly string[];
}

type Check = (limits: Limits, host: CgroupHost, machine: Machine) => void;

const MIN_MEMORY = 6 * 1024 * 1024;
const PERIOD_DEFAULT = 100_000;

/** Docker's checks with Docker's words (daemon/daemon_unix.go, verifyPlatformContainerResources). */
const CHECKS: readonly Check[] = [
  checkMemory,
  checkCpu,
  checkCpuset,
  checkBlockIo,
  checkOom,
  checkCgroupConf,
  checkControllers,
];

/**
 * Options of `run` → OCI `linux.resources`, checked.
 * @throws TinyrunError `invalid` for what makes no sense, `unsupported` for what this kernel cannot give
 */
export function resourcesOf(limits: Limits, host: CgroupHost, machine: Machine): Translated {
  for (const check of CHECKS) check(limits, host, machine);
  const warnings: string[] = [];
  const memory = memoryOf(limits, host, warnings);
  const cpu = cpuOf(limits);
  const blockIO = blockIoOf(limits, machine);
  const unified = {
    ...(limits.oomGroup === true ? { 'memory.oom.group': '1' } : {}),
    ...(limits.memoryHigh === undefined ? {} : { 'memory.high': String(limits.memoryHigh) }),
    ...limits.cgroupConf,
  };
  const resources: Resources = {
    ...(memory === undefined ? {} : { memory }),
    ...(cpu === undefined ? {} : { cpu }),
    ...(limits.pidsLimit === undefined
      ? {}
      : { pids: { limit: limits.pidsLimit <= 0 ? -1 : limits.pidsLimit } }),
    ...(blockIO === undefined ? {} : { blockIO }),
    ...(Object.keys(unified).length === 0 ? {} : { unified }),
  };
  return { resources, warnings };
}

function memoryOf(limits: Limits, host: CgroupHost, warnings: string[]): Resources['memory'] {
  const { memory, memoryReservation, memorySwappiness } = limits;
  // Docker: swap as large as memory where only memory is given.
  let swap = limits.memorySwap ?? (memory === undefined || memory <= 0 ? undefined : memory * 2);
  if (swap === 0) swap = memory === undefined ? undefined : memory * 2;
  if (swap !== undefined && !host.swapAccounting) {
    if (limits.memorySwap !== undefined) {
      warnings.push(
        'Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.',
      );
    }
    swap = undefined;
  }
  let swappiness = memorySwappiness;
  if (swappiness !== undefined && host.version === 'v2') {
    warnings.push(
      'Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.',
    );
    swappiness = undefined;
  }
  const result = {
    ...(memory === undefined || memory === 0 ? {} : { limit: memory }),
    ...(memoryReservation === undefined || memoryReservation === 0 ? {} : { reservation: memoryReservation }),
    ...(swap === undefined ? {} : { swap }),
    ...(swappiness === undefined || swappiness === -1 ? {} : { swappiness }),
    ...(limits.oomKillDisable === true ? { disableOOMKiller: true } : {}),
  };
  return Object.keys(result).length === 0 ? undefined : result;
}

function cpuOf(limits: Limits): Resources['cpu'] {
  const { cpus, cpuShares, cpuPeriod, cpuQuota, cpuRtRuntime, cpuRtPeriod, cpusetCpus, cpusetMems } = limits;
  const result = {
    ...(cpuShares === undefined || cpuShares === 0 ? {} : { shares: cpuShares }),
    ...(cpuPeriod === undefined || cpuPeriod === 0 ? {} : { period: cpuPeriod }),
    ...(cpuQuota === undefined || cpuQuota === 0 ? {} : { quota: cpuQuota }),
    ...(cpus === undefined || cpus === 0
      ? {}
      : { period: PERIOD_DEFAULT, quota: Math.round(cpus * PERIOD_DEFAULT) }),
    ...(cpuRtRuntime === undefined ? {} : { realtimeRuntime: cpuRtRuntime }),
    ...(cpuRtPeriod === undefined ? {} : { realtimePeriod: cpuRtPeriod }),
    ...(cpusetCpus === undefined || cpusetCpus === '' ? {} : { cpus: cpusetCpus }),
    ...(cpusetMems === undefined || cpusetMems === '' ? {} : { mems: cpusetMems }),
  };
  return Object.keys(result).length === 0 ? undefined : result;
}

function blockIoOf(limits: Limits, machine: Machine): Resources['blockIO'] {
  const throttle = (rates: readonly DeviceRate[] | undefined): readonly ThrottleDevice[] | undefined =>
    rates?.map(({ path, rate }) => ({ ...numberOf(path, machine), rate }));
  const weightDevice = limits.blkioWeightDevice?.map(({ path, weight }) => ({
    ...numberOf(path, machine),
    weight,
  }));
  const readBps = throttle(limits.deviceReadBps);
  const writeBps = throttle(limits.deviceWriteBps);
  const readIops = throttle(limits.deviceReadIops);
  const writeIops = throttle(limits.deviceWriteIops);
  const result = {
    ...(limits.blkioWeight === undefined || limits.blkioWeight === 0 ? {} : { weight: limits.blkioWeight }),
    ...(weightDevice === undefined ? {} : { weightDevice }),
    ...(readBps === undefined ? {} : { throttleReadBpsDevice: readBps }),
    ...(writeBps === undefined ? {} : { throttleWriteBpsDevice: writeBps }),
    ...(readIops === undefined ? {} : { throttleReadIOPSDevice: readIops }),
    ...(writeIops === undefined ? {} : { throttleWriteIOPSDevice: writeIops }),
  };
  return Object.keys(result).length === 0 ? undefined : result;
}

function numberOf(path: string, machine: Machine): { readonly major: number; readonly minor: number } {
  const found = machine.device(path);
  if (found === undefined)
    throw new TinyrunError('invalid', `Cannot limit device "${path}": it is no block device of this host`);
  return found;
}

function invalid(message: string): never {
  throw new TinyrunError('invalid', message);
}

function checkMemory(limits: Limits): void {
  const { memory, memorySwap, memoryReservation, memorySwappiness, memoryHigh } = limits;
  if (memory !== undefined && memory !== 0 && memory < MIN_MEMORY)
    invalid('Minimum memory limit allowed is 6MB');
  if (memorySwap !== undefined && memorySwap > 0) {
    if (memory === undefined || memory === 0) {
      invalid('You should always set the Memory limit when using Memoryswap limit, see usage');
    }
    if (memorySwap < memory)
      invalid('Minimum memoryswap limit should be larger than memory limit, see usage');
  }
  if (memorySwappiness !== undefined && (memorySwappiness < -1 || memorySwappiness > 100)) {
    invalid(`Invalid value: ${memorySwappiness}, valid memory swappiness range is 0-100`);
  }
  if (memoryReservation !== undefined && memoryReservation !== 0) {
    if (memoryReservation < MIN_MEMORY) invalid('Minimum memory reservation allowed is 6MB');
    if (memory !== undefined && memory !== 0 && memory < memoryReservation) {
      invalid('Minimum memory limit can not be less than memory reservation limit, see usage');
    }
  }
  if (memoryHigh !== undefined && memory !== undefined && memory !== 0 && memoryHigh > memory) {
    invalid('Cannot set --memory-high above --memory: the limit would never be reached');
  }
}

function checkCpu(limits: Limits, _host: CgroupHost, machine: Machine): void {
  const { cpus, cpuPeriod, cpuQuota, cpuShares } = limits;
  if (cpus !== undefined && cpus !== 0) {
    if (cpuPeriod !== undefined && cpuPeriod > 0)
      invalid('Conflicting options: Nano CPUs and CPU Period cannot both be set');
    if (cpuQuota !== undefined && cpuQuota > 0)
      invalid('Conflicting options: Nano CPUs and CPU Quota cannot both be set');
    if (!(cpus >= 0.01 && cpus <= machine.cpus)) {
      invalid(
        `Range of CPUs is from 0.01 to ${machine.cpus}.00, as there are only ${machine.cpus} CPUs available`,
      );
    }
  }
  if (cpuShares !== undefined && cpuShares < 0)
    invalid(`Invalid value ${cpuShares}: CPU shares must not be negative`);
  if (cpuPeriod !== undefined && cpuPeriod !== 0 && (cpuPeriod < 1000 || cpuPeriod > 1_000_000)) {
    invalid('CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)');
  }
  if (cpuQuota !== undefined && cpuQuota > 0 && cpuQuota < 1000) {
    invalid('CPU cfs quota can not be less than 1ms (i.e. 1000)');
  }
}

function checkCpuset(limits: Limits, _host: CgroupHost, machine: Machine): void {
  checkList('cpus', 'CPUs', limits.cpusetCpus, machine.cpuList);
  checkList('mems', 'memory nodes', limits.cpusetMems, machine.memList);
}

function checkList(file: string, what: string, wanted: string | undefined, available: string): void {
  if (wanted === undefined || wanted === '') return;
  const members = parseCpuList(wanted);
  if (members === undefined) invalid(`Invalid value ${wanted} for cpuset ${file}`);
  const there = parseCpuList(available);
  if (there !== undefined && [...members].some((member) => !there.has(member))) {
    invalid(`Requested ${what} are not available - requested ${wanted}, available: ${available}`);
  }
}

function checkBlockIo(limits: Limits): void {
  const weights = [limits.blkioWeight, ...(limits.blkioWeightDevice ?? []).map(({ weight }) => weight)];
  for (const weight of weights) {
    if (weight !== undefined && weight !== 0 && (weight < 10 || weight > 1000)) {
      invalid('Range of blkio weight is from 10 to 1000');
    }
  }
}

function checkOom(limits: Limits, host: CgroupHost): void {
  const { oomKillDisable, oomScoreAdj, oomGroup } = limits;
  if (oomScoreAdj !== undefined && (oomScoreAdj < -1000 || oomScoreAdj > 1000)) {
    invalid(`Invalid value ${oomScoreAdj}, range for oom score adj is [-1000, 1000]`);
  }
  if (oomGroup === true && host.version !== 'v2') {
    throw new TinyrunError(
      'unsupported',
      'Cannot use --oom-group: the OOM killer of cgroup v1 kills one process at a time',
      { hint: 'Boot with systemd.unified_cgroup_hierarchy=1 for cgroup v2' },
    );
  }
  if (oomKillDisable === true && host.version !== 'v1') {
    throw new TinyrunError(
      'unsupported',
      'Cannot use --oom-kill-disable: cgroup v2 has no way to switch the OOM killer off',
      {
        hint: 'Use --memory-high, which slows the container down before the kernel has to kill',
      },
    );
  }
}

/** A file name of cgroup v2 and a value without a newline: nothing else may be smuggled in (CVE-2022-0811). */
function checkCgroupConf(limits: Limits, host: CgroupHost): void {
  const files = Object.entries(limits.cgroupConf ?? {});
  for (const [file, value] of files) {
    if (!/^[a-z0-9_]+(\.[a-zA-Z0-9_]+)+$/.test(file) || file.startsWith('cgroup.') || /[\n\0]/.test(value)) {
      invalid(`Cannot set cgroup file "${file}": expected CONTROLLER.FILE=VALUE, such as memory.oom.group=1`);
    }
  }
  if (files.length > 0 && host.version !== 'v2') needV2('--cgroup-conf');
  if (limits.memoryHigh !== undefined && host.version !== 'v2') needV2('--memory-high');
}

function needV2(flag: string): never {
  throw new TinyrunError('unsupported', `Cannot use ${flag}: this host limits with cgroup v1`, {
    hint: 'Boot with systemd.unified_cgroup_hierarchy=1 for cgroup v2',
  });
}

/** Which controller an option needs; one that is not there is an error, not silence. */
function checkControllers(limits: Limits, host: CgroupHost): void {
  const needs: readonly (readonly [string, boolean])[] = [
    ['memory', limits.memory !== undefined && limits.memory !== 0],
    ['memory', limits.memoryReservation !== undefined && limits.memoryReservation !== 0],
    [
      'cpu',
      [limits.cpus, limits.cpuShares, limits.cpuQuota, limits.cpuPeriod].some(
        (value) => value !== undefined && value !== 0,
      ),
    ],
    ['cpuset', [limits.cpusetCpus, limits.cpusetMems].some((value) => value !== undefined && value !== '')],
    ['pids', limits.pidsLimit !== undefined && limits.pidsLimit > 0],
    [
      'io',
      [limits.deviceReadBps, limits.deviceWriteBps, limits.deviceReadIops, limits.deviceWriteIops].some(
        (list) => (list?.length ?? 0) > 0,
      ),
    ],
  ];
  for (const [controller, wanted] of needs) {
    if (wanted && !hasController(host, controller)) {
      throw new TinyrunError(
        'unsupported',
        `Cannot limit ${controller}: this kernel has no cgroup controller "${controller}"`,
        {
          hint: 'Start without this limit, or boot a kernel that has the controller',
        },
      );
    }
  }
}

/** @param name as in v2: `io` is v1's `blkio` */
export function hasController(host: CgroupHost, name: string): boolean {
  if (host.version === 'v2') return host.unified?.controllers.includes(name) ?? false;
  return host.mounts[name === 'io' ? 'blkio' : name] !== undefined;
}
