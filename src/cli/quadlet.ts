/**
 * A Quadlet file: a container as a unit that Podman's generator makes a service of.
 * @see https://docs.podman.io/en/latest/markdown/podman-systemd.unit.5.html
 */
import type { ContainerRecord, CreateOptions, Limits, MountRequest, PortRequest } from '../engine/index.ts';
import { systemdWord } from './systemd-unit.ts';

type Line = readonly [key: string, value: string];

export function quadletFile(record: ContainerRecord, how: { readonly restart: string }): string {
  const { name, options } = record;
  const lines: Line[] = [
    ['ContainerName', name],
    ['Image', record.options.image],
    ...programLines(options),
    ...pairs('Environment', options.env.map(splitPair)),
    ...pairs('Label', Object.entries(options.labels)),
    ...pairs('Annotation', Object.entries(options.annotations)),
    ...securityLines(options),
    ...networkLines(options),
    ...options.mounts.map(mountLine),
    ...resourceLines(options),
    ...limitLines(options.limits),
    ...healthLines(options),
  ];
  return [
    '[Unit]',
    `Description=Container ${name}`,
    '',
    '[Container]',
    ...lines.map(([key, value]) => `${key}=${value}`),
    '',
    '[Service]',
    `Restart=${how.restart}`,
    '',
    '[Install]',
    'WantedBy=default.target',
    '',
  ].join('\n');
}

function programLines(options: CreateOptions): Line[] {
  const { entrypoint, command, user, workingDir, hostname, stopSignal, stopTimeout } = options;
  return [
    ...(entrypoint === undefined ? [] : [line('Entrypoint', JSON.stringify(entrypoint))]),
    ...(command.length === 0 ? [] : [line('Exec', command.map((word) => systemdWord(word)).join(' '))]),
    ...given('User', user),
    ...given('WorkingDir', workingDir),
    ...given('HostName', hostname),
    ...given('StopSignal', stopSignal),
    ...given('StopTimeout', stopTimeout),
    ...flag('RunInit', options.init),
    ...options.groupAdd.map((group) => line('GroupAdd', group)),
    ...options.ulimits.map(({ name, soft, hard }) => line('Ulimit', `${name}=${soft}:${hard}`)),
    ...pairs('Sysctl', Object.entries(options.sysctls)),
  ];
}

function securityLines(options: CreateOptions): Line[] {
  const lines: Line[] = [
    ...flag('ReadOnly', options.readonlyRootfs),
    ...options.capAdd.map((name) => line('AddCapability', name)),
    ...options.capDrop.map((name) => line('DropCapability', name)),
    ...options.devices.map(({ source, target, access }) =>
      line('AddDevice', `${source}:${target}:${access}`),
    ),
    ...argument('--privileged', options.privileged ? '' : undefined),
    ...(options.pidMode === 'private' ? [] : [line('PodmanArgs', `--pid=${options.pidMode}`)]),
    ...(options.ipcMode === 'private' ? [] : [line('PodmanArgs', `--ipc=${options.ipcMode}`)]),
    ...(options.utsMode === 'host' ? [line('PodmanArgs', '--uts=host')] : []),
  ];
  for (const one of options.securityOpt) {
    if (one.type === 'no-new-privileges') lines.push(...flag('NoNewPrivileges', one.on));
    if (one.type === 'seccomp' && one.profile === 'unconfined')
      lines.push(line('SeccompProfile', 'unconfined'));
    if (one.type === 'mask') lines.push(line('Mask', one.paths.join(':')));
    if (one.type === 'unmask') {
      lines.push(line('Unmask', one.paths === 'all' ? 'ALL' : one.paths.join(':')));
    }
  }
  return lines;
}

function networkLines({ network }: CreateOptions): Line[] {
  const { mode } = network;
  const name = mode.type === 'container' ? `container:${mode.container}` : mode.type;
  return [
    ...(mode.type === 'bridge' ? [] : [line('Network', name)]),
    ...(mode.type === 'bridge' && mode.network !== 'bridge' ? [line('Network', mode.network)] : []),
    ...network.publish.map((port) => line('PublishPort', portText(port))),
    ...network.expose.map((port) => line('ExposeHostPort', port)),
    ...network.dns.map((server) => line('DNS', server)),
    ...network.dnsSearch.map((domain) => line('DNSSearch', domain)),
    ...network.dnsOptions.map((option) => line('DNSOption', option)),
    ...network.extraHosts.map((host) => line('AddHost', host)),
    ...given('IP', network.ip),
    ...argument('--mac-address', network.macAddress),
    ...argument('--publish-all', network.publishAll ? '' : undefined),
  ];
}

function portText({
  protocol,
  hostIp,
  hostPort,
  hostPortEnd,
  containerPort,
  containerPortEnd,
}: PortRequest): string {
  const span = (first: number, last: number): string => (last > first ? `${first}-${last}` : String(first));
  const address = hostIp === undefined ? '' : `${hostIp.includes(':') ? `[${hostIp}]` : hostIp}:`;
  const host = hostPort === 0 ? (address === '' ? '' : ':') : `${span(hostPort, hostPortEnd)}:`;
  return `${address}${host}${span(containerPort, containerPortEnd)}${protocol === 'udp' ? '/udp' : ''}`;
}

function mountLine(mount: MountRequest): Line {
  if (mount.type === 'tmpfs') {
    return line('Tmpfs', [mount.target, mount.options.join(',')].filter((part) => part !== '').join(':'));
  }
  const propagation = mount.type === 'bind' ? mount.propagation : undefined;
  const source = mount.type === 'bind' ? mount.source : mount.name;
  const options = [...(mount.readonly ? ['ro'] : []), ...(propagation === undefined ? [] : [propagation])];
  const parts = [source ?? '', mount.target, options.join(',')];
  return line('Volume', parts.filter((part) => part !== '').join(':'));
}

const SECOND_NS = 1e9;

function healthLines({ healthcheck, healthOnFailure }: CreateOptions): Line[] {
  const seconds = (key: string, nanoseconds: number | undefined): Line[] =>
    nanoseconds === undefined || nanoseconds === 0 ? [] : [line(key, `${nanoseconds / SECOND_NS}s`)];
  const onFailure = given('HealthOnFailure', healthOnFailure);
  if (healthcheck === undefined) return onFailure;
  if (healthcheck.off === true) return [line('HealthCmd', 'none')];
  return [
    ...given('HealthCmd', healthcheck.command),
    ...seconds('HealthInterval', healthcheck.interval),
    ...seconds('HealthTimeout', healthcheck.timeout),
    ...given('HealthRetries', healthcheck.retries),
    ...seconds('HealthStartPeriod', healthcheck.startPeriod),
    ...onFailure,
  ];
}

function resourceLines(options: CreateOptions): Line[] {
  return [
    ...given('ShmSize', options.shmSize),
    ...(options.logDriver === 'json-file' ? [] : [line('LogDriver', options.logDriver)]),
    ...pairs('LogOpt', Object.entries(options.logOptions)),
    ...argument('--platform', options.platform),
    ...argument('--cgroupns', options.cgroupnsMode === 'host' ? 'host' : undefined),
    ...options.deviceCgroupRules.flatMap((rule) => argument('--device-cgroup-rule', rule)),
  ];
}

function limitLines(limits: Limits): Line[] {
  return [
    ...given('PidsLimit', limits.pidsLimit),
    ...argument('--memory', limits.memory),
    ...argument('--memory-reservation', limits.memoryReservation),
    ...argument('--memory-swap', limits.memorySwap),
    ...argument('--cpus', limits.cpus),
    ...argument('--cpu-shares', limits.cpuShares),
    ...argument('--cpu-quota', limits.cpuQuota),
    ...argument('--cpu-period', limits.cpuPeriod),
    ...argument('--cpuset-cpus', limits.cpusetCpus),
    ...argument('--cpuset-mems', limits.cpusetMems),
    ...argument('--blkio-weight', limits.blkioWeight),
    ...argument('--oom-score-adj', limits.oomScoreAdj),
    ...argument('--oom-kill-disable', limits.oomKillDisable === true ? '' : undefined),
    ...argument('--memory-swappiness', limits.memorySwappiness),
    ...argument('--cgroup-parent', limits.cgroupParent),
    ...rates('--device-read-bps', limits.deviceReadBps),
    ...rates('--device-write-bps', limits.deviceWriteBps),
    ...rates('--device-read-iops', limits.deviceReadIops),
    ...rates('--device-write-iops', limits.deviceWriteIops),
    ...(limits.oomGroup === true ? argument('--cgroup-conf', 'memory.oom.group=1') : []),
    ...Object.entries(limits.cgroupConf ?? {}).flatMap(([file, value]) =>
      argument('--cgroup-conf', `${file}=${value}`),
    ),
    ...(limits.memoryHigh === undefined ? [] : argument('--cgroup-conf', `memory.high=${limits.memoryHigh}`)),
  ];
}

function rates(name: string, list: Limits['deviceReadBps']): Line[] {
  return (list ?? []).flatMap(({ path, rate }) => argument(name, `${path}:${rate}`));
}

/** A value of a key is one line, and `%` begins a specifier. */
function line(key: string, value: string): Line {
  return [key, value.replaceAll('\n', '\\n')];
}

function given(key: string, value: string | number | undefined): Line[] {
  return value === undefined ? [] : [line(key, String(value).replaceAll('%', '%%'))];
}

function flag(key: string, on: boolean): Line[] {
  return on ? [line(key, 'true')] : [];
}

/** What has no key of its own. */
function argument(name: string, value: string | number | undefined): Line[] {
  if (value === undefined) return [];
  return [line('PodmanArgs', value === '' ? name : systemdWord(`${name}=${value}`))];
}

function pairs(key: string, entries: readonly (readonly [string, string])[]): Line[] {
  return entries.map(([name, value]) => line(key, systemdWord(`${name}=${value}`, { isCommand: false })));
}

function splitPair(text: string): [string, string] {
  const equals = text.indexOf('=');
  return equals < 0 ? [text, ''] : [text.slice(0, equals), text.slice(equals + 1)];
}
