import { rateView } from '../network/inspect.ts';
import type { CreateOptions, DeviceRate, MountRequest, PortRequest } from './options.ts';

/** Docker's HostConfig of a container's options. */
export function hostConfigOf(options: CreateOptions): Readonly<Record<string, unknown>> {
  const { limits, network } = options;
  const binds = options.mounts.filter((mount) => mount.type === 'bind' && mount.createSource);
  const mounts = options.mounts.filter((mount) => mount.type === 'bind' && !mount.createSource);
  return {
    Binds: binds.length === 0 ? null : binds.map(bindOf),
    LogConfig: { Type: options.logDriver, Config: options.logOptions },
    NetworkMode: networkModeOf(options),
    ...(network.rates === undefined ? {} : { NetworkRate: rateView(network.rates) }),
    PortBindings: portBindingsOf(network.publish),
    RestartPolicy: { Name: options.restart?.policy ?? 'no', MaximumRetryCount: options.restart?.max ?? 0 },
    AutoRemove: options.remove,
    CapAdd: orNull(options.capAdd),
    CapDrop: orNull(options.capDrop),
    CgroupnsMode: options.cgroupnsMode,
    Dns: network.dns,
    DnsOptions: network.dnsOptions,
    DnsSearch: network.dnsSearch,
    ExtraHosts: orNull(network.extraHosts),
    GroupAdd: orNull(options.groupAdd),
    IpcMode: options.ipcMode,
    OomScoreAdj: limits.oomScoreAdj ?? 0,
    PidMode: options.pidMode === 'private' ? '' : options.pidMode,
    Privileged: options.privileged,
    PublishAllPorts: network.publishAll,
    ReadonlyRootfs: options.readonlyRootfs,
    SecurityOpt: orNull(options.securityOpt.map((one) => (one.type === 'ignored' ? one.text : one.type))),
    UTSMode: options.utsMode === 'host' ? 'host' : '',
    ShmSize: options.shmSize ?? 64 * 1024 * 1024,
    Sysctls: options.sysctls,
    Tmpfs: tmpfsOf(options.mounts),
    Mounts: mounts.map(mountOf),
    Runtime: 'tinyrun',
    Init: options.init,
    ...resourcesOf(options),
  };
}

function resourcesOf(options: CreateOptions): Readonly<Record<string, unknown>> {
  const { limits } = options;
  return {
    CpuShares: limits.cpuShares ?? 0,
    Memory: limits.memory ?? 0,
    NanoCpus: Math.round((limits.cpus ?? 0) * 1e9),
    CgroupParent: limits.cgroupParent ?? '',
    BlkioWeight: limits.blkioWeight ?? 0,
    BlkioWeightDevice: (limits.blkioWeightDevice ?? []).map(({ path, weight }) => ({
      Path: path,
      Weight: weight,
    })),
    BlkioDeviceReadBps: ratesOf(limits.deviceReadBps),
    BlkioDeviceWriteBps: ratesOf(limits.deviceWriteBps),
    BlkioDeviceReadIOps: ratesOf(limits.deviceReadIops),
    BlkioDeviceWriteIOps: ratesOf(limits.deviceWriteIops),
    CpuPeriod: limits.cpuPeriod ?? 0,
    CpuQuota: limits.cpuQuota ?? 0,
    CpuRealtimePeriod: limits.cpuRtPeriod ?? 0,
    CpuRealtimeRuntime: limits.cpuRtRuntime ?? 0,
    CpusetCpus: limits.cpusetCpus ?? '',
    CpusetMems: limits.cpusetMems ?? '',
    Devices: options.devices.map((device) => ({
      PathOnHost: device.source,
      PathInContainer: device.target,
      CgroupPermissions: device.access,
    })),
    DeviceCgroupRules: orNull(options.deviceCgroupRules),
    MemoryReservation: limits.memoryReservation ?? 0,
    MemorySwap: limits.memorySwap ?? (limits.memory ?? 0) * 2,
    MemorySwappiness: limits.memorySwappiness ?? null,
    ...(limits.oomGroup === true ? { OomGroup: true } : {}),
    OomKillDisable: limits.oomKillDisable ?? null,
    PidsLimit: limits.pidsLimit ?? null,
    Ulimits: options.ulimits.map(({ name, soft, hard }) => ({ Name: name, Hard: hard, Soft: soft })),
  };
}

function networkModeOf({ network }: CreateOptions): string {
  switch (network.mode.type) {
    case 'bridge':
      return network.mode.network;
    case 'container':
      return `container:${network.mode.container}`;
    default:
      return network.mode.type;
  }
}

function bindOf(mount: MountRequest): string {
  if (mount.type !== 'bind') return '';
  const options = [
    ...(mount.readonly ? ['ro'] : []),
    ...(mount.propagation === undefined ? [] : [mount.propagation]),
  ];
  return [mount.source, mount.target, ...(options.length === 0 ? [] : [options.join(',')])].join(':');
}

function mountOf(mount: MountRequest): Readonly<Record<string, unknown>> {
  if (mount.type !== 'bind') return {};
  return { Type: 'bind', Source: mount.source, Target: mount.target, ReadOnly: mount.readonly };
}

function tmpfsOf(mounts: readonly MountRequest[]): Record<string, string> {
  const result: Record<string, string> = {};
  for (const mount of mounts) if (mount.type === 'tmpfs') result[mount.target] = mount.options.join(',');
  return result;
}

function portBindingsOf(
  publish: readonly PortRequest[],
): Record<string, { HostIp: string; HostPort: string }[]> {
  const result: Record<string, { HostIp: string; HostPort: string }[]> = {};
  for (const port of publish) {
    for (let offset = 0; offset <= port.containerPortEnd - port.containerPort; offset += 1) {
      const key = `${port.containerPort + offset}/${port.protocol}`;
      const host = port.hostPort === 0 ? '' : String(port.hostPort + offset);
      result[key] = [...(result[key] ?? []), { HostIp: port.hostIp ?? '', HostPort: host }];
    }
  }
  return result;
}

function ratesOf(rates: readonly DeviceRate[] | undefined): { Path: string; Rate: number }[] {
  return (rates ?? []).map(({ path, rate }) => ({ Path: path, Rate: rate }));
}

function orNull<T>(list: readonly T[]): readonly T[] | null {
  return list.length === 0 ? null : list;
}
